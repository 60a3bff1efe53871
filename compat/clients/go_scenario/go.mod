module pykbroker/scenario

go 1.24
