"""The weather capability: values per day and for now, from a service or made up and marked so."""
