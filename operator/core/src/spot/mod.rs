//! Spot instances: the market, what it advises, and settings that fit together.

pub mod advice;
pub mod limit;
pub mod market;
pub mod price;
pub mod settings;

pub use market::SpotMarket;
pub use price::Price;
