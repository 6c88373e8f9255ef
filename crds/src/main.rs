//! Writes the generated files of the repository and says which of them changed.

use std::process::ExitCode;

fn main() -> ExitCode {
    match eci_crds::write(&eci_crds::repository()) {
        Ok(changed) if changed.is_empty() => println!("All generated files are up to date."),
        Ok(changed) => changed.iter().for_each(|path| println!("wrote {path}")),
        Err(error) => {
            eprintln!("eci-crds: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
