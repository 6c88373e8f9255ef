//! The simulator from outside: the world, random histories, the port, the wire, the admin API and the program.
#![cfg(test)]

mod admin;
mod cloud;
mod common;
mod data;
mod http;
mod market;
mod properties;
mod world;
