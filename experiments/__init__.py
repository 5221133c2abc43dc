"""One folder for each claim: question, command, table over seeds, verdict."""
