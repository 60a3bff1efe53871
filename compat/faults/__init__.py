"""The suite on trial: our broker with one behaviour broken on purpose, which some check must notice."""
