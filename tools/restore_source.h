/*
 * The records of a backup, read from the directories of its shards, one after the other: each key
 * once, with its value and the time at which it expires; what has expired is left out.
 *
 * A directory is opened by the storage engine, for reading only: so the keys of one shard at a time
 * are in memory, and what counts in it is decided by the code that wrote it. Only keys whose slots
 * the map of the backup gives to a shard are taken from its directory: what was on its way between
 * two shards is in both.
 */
#ifndef SC_TOOLS_RESTORE_SOURCE_H
#define SC_TOOLS_RESTORE_SOURCE_H

#include "tools/backup_list.h"
#include "tools/import.h"

/* Its open is not used: sc_restore_source_open takes the list, which is borrowed until the close.
 */
extern const struct sc_import_format sc_restore_source;

struct sc_import_reader *sc_restore_source_open(const struct sc_backup_list *list);

#endif
