/*
 * Label: which backup a directory is a part of, in its file BACKUP; and the removal of a part whose
 * backup did not become complete.
 *
 *     {"cluster":"HEX","shard":N,"label":"HEX"}
 *
 * in one line. The label is the coordinator's, which gives the same again only as long as what it
 * stands for did not become complete (coordinator/inventory.h). So a directory with the label that
 * a shard was just given, its cluster and its id, is a leftover of its own, and may be removed;
 * nothing else may. A request to make a part may arrive late, though, after the backup was made
 * without it: so nothing is removed beside the file that says that a backup is complete.
 */
#ifndef SC_SHARD_LABEL_H
#define SC_SHARD_LABEL_H

#include "common/status.h"
#include "shard/files.h"

#include <stdbool.h>

#define SC_LABEL_FILE "BACKUP"
#define SC_LABEL_COMPLETE "backup.json" /* the coordinator's, beside the parts */

/* Readable. */
struct sc_label {
    uint8_t cluster[16];
    uint32_t shard_id;
    uint64_t label; /* 0: none */
};

/* Writes the file, durably. SC_IO. */
enum sc_status sc_label_write(const struct sc_label *label, const struct sc_files *dir, char *why);

/* Removes the directory `name` in `parent` if it has this label, or nothing but a label that was
 * being written, and the backup is not complete. False: it is still there, perhaps with less in it,
 * but then with its label. */
bool sc_label_reclaim(const struct sc_label *label, const struct sc_files *parent,
                      const char *name);

#endif
