//! Tables as kubectl prints them: columns as wide as needed, three spaces between.

/// Spaces between columns.
const GAP: usize = 3;

/// Writes rows under a head. Rows that are too short are filled up.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<0$}", width + GAP));
        format!("{}\n", padded.collect::<String>().trim_end())
    };
    let rows = rows.iter().map(|row| line(std::array::from_fn(|column| row[column].as_str())));
    std::iter::once(line(head)).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "1".to_owned()], ["longer".to_owned(), String::new()]];
        assert_eq!(table(["X", "COUNT"], &rows), "X        COUNT\na        1\nlonger\n");
        assert_eq!(table(["X", "Y"], &[]), "X   Y\n");
    }
}
