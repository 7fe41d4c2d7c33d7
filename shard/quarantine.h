/*
 * Quarantine: damaged parts of data files, copied aside before anything is done about them, into
 * the directory "quarantine" of the store. Nothing in there is ever removed or read by the store.
 *
 *   NNNNNNNNNN-OFFSET-SIZE.bytes   the bytes as they were found; zeros where the disk gave an error
 *   NNNNNNNNNN-OFFSET-SIZE.json    one line that says what they are: file, offset, size, kind, key,
 *                                  version, meaning, time
 *
 * A part is kept once, by its place; the bytes get their name when both files are on the disk.
 * There is a limit to how many and how much, beyond which damaged files simply stay where they are.
 *
 * One thread at a time.
 */
#ifndef SC_SHARD_QUARANTINE_H
#define SC_SHARD_QUARANTINE_H

#include "shard/damage.h"

#define SC_QUARANTINE_NAME_SIZE 96
#define SC_QUARANTINE_PARTS_MAX 10000u
#define SC_QUARANTINE_BYTES_MAX (UINT64_C(1) << 30)

/* Makes sure that the bytes of this damage, a value or a stretch, or the head of a file, are in the
 * quarantine, durably. SC_TOOLARGE: there is no room left in it. SC_IO. */
enum sc_status sc_quarantine_keep(const struct sc_files *files, const struct sc_damage *damage,
                                  char *why);

/* A whole file of the store gets a name in the quarantine too, durably, or only there; when there
 * is another of its name already, one with a number behind. SC_OK also when there is no such file.
 * SC_IO. */
enum sc_status sc_quarantine_link(const struct sc_files *files, const char *name, char *why);
enum sc_status sc_quarantine_move(const struct sc_files *files, const char *name, char *why);

/* Calls `visit` for every part that is in the quarantine: `part` has its file, offset and size.
 * What cannot be listed is left out. */
void sc_quarantine_list(const struct sc_files *files,
                        void (*visit)(void *arg, const struct sc_damage *part), void *arg);

/* Whether they are, without touching anything. */
bool sc_quarantine_has(const struct sc_files *files, const struct sc_damage *damage);

/* The name of the copy, in the directory of the store. */
void sc_quarantine_name(const struct sc_damage *damage, char name[SC_QUARANTINE_NAME_SIZE]);

#endif
