"""The faces of the command line: arguments in, one call into a package, text out."""
