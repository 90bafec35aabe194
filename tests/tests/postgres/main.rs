//! Mode postgres against real servers: backups of tables that are written to meanwhile, their restores, and what a server or its
//! place refuses. Nothing is committed that isn't whole, backup mode ends with its run, and the password shows nowhere.

mod database;
mod physical;
mod refusals;
mod streams;
