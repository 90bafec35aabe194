//! What a backup is: names, levels, layouts, documents, tar, index. Pure data.
