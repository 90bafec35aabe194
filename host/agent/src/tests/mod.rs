//! The recipes on a storage in memory and a plain directory as the mode: no component runs here.

mod attack;
mod cancel;
mod continuity;
mod damage;
mod fault;
mod leftovers;
mod level;
mod original;
mod prune;
mod resume;
mod round;
mod seen;
mod several;
mod streams;
mod support;
mod tags;
mod trial;
mod unreadable;
