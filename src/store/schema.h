/* The schema's steps. store.c runs those a file has not had yet; docs/store.md explains columns. */
#ifndef STORE_SCHEMA_H
#define STORE_SCHEMA_H

/* store_migrations[v] takes a file from schema version v to v + 1. */
extern const char *const store_migrations[];

#endif
