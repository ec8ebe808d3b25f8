-- Postgres runs this once, when its volume is new.
CREATE DATABASE mlflow;
CREATE DATABASE prefect;
