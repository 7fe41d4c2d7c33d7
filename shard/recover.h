/*
 * Recovery: opens the files of a store and fills its keydir from them.
 *
 * Every record is offered to the keydir with its version, so the order in which files and records
 * are read does not matter. What is damaged is told, and what becomes of it depends on where it is.
 * Before the mark (shard/durable.h: what was acknowledged) it is a loss: a record whose header and
 * key are whole stays in the keydir, so that its key answers SC_CORRUPT instead of an older value;
 * a stretch without any is skipped; nothing is cut off. Behind the mark it is the trace of a crash:
 * at the end of the file it is cut before anything is appended, and in front of later records it
 * is listed in the manifest as a void, so that it stays skipped when the mark has moved on.
 *
 * A file whose end was lost is sealed, not appended to.
 */
#ifndef SC_SHARD_RECOVER_H
#define SC_SHARD_RECOVER_H

#include "common/status.h"

struct sc_bitcask;

/* Reads manifest and data files, fills the keydir and sets up the writer. What it leaves behind on
 * failure sc_bitcask_close frees. Errors: see sc_bitcask_open. */
enum sc_status sc_recover(struct sc_bitcask *store, char *why);

#endif
