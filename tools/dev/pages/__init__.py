"""Generated parts of the documentation: tables, pictures and metafiles, from recorded rows and from the code."""
