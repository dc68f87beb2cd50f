#!/bin/sh
# Creates or updates the tables of Temporal: once per start of the stack, before its server. Safe to repeat.
# temporal-sql-tool itself reads SQL_PLUGIN, SQL_HOST, SQL_PORT, SQL_USER and SQL_PASSWORD.
set -eu

tables() {
    temporal-sql-tool --db "$1" create
    temporal-sql-tool --db "$1" setup-schema -v 0.0
    temporal-sql-tool --db "$1" update-schema -d "/etc/temporal/schema/postgresql/v12/$2/versioned"
}

tables temporal temporal
tables temporal_visibility visibility
