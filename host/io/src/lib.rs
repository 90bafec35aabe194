//! Native doing behind the plugin interfaces.
