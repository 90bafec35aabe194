//! One recipe per verb; joins pipeline and plugins.
