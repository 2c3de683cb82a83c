"""One module per group of commands; `bydawn.cli.app.COMMANDS` says which is where."""
