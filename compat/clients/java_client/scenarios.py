"""Runs Scenarios.java, the Java clients of Apache Kafka, straight from its source."""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent / "oracle"))

import kafka as oracle

SOURCE = pathlib.Path(__file__).parent / "Scenarios.java"

if __name__ == "__main__":
    command = oracle.java(f"-Dscenarios.source={SOURCE}", SOURCE, *sys.argv[1:], heap="256m")
    os.execvp(command[0], command)
