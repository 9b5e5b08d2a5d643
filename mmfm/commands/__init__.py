"""The commands, by what they are for; `mmfm.cli` puts them together."""
