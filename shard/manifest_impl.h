/*
 * The inside of a manifest: shared by the files that make up shard/manifest.h, and by nobody else.
 *
 *   manifest.c         files, voids, and what merges change
 *   manifest_slots.c   identity and slots
 *   manifest_format.c  the file: reading and writing it
 */
#ifndef SC_SHARD_MANIFEST_IMPL_H
#define SC_SHARD_MANIFEST_IMPL_H

#include "shard/manifest.h"

#include <pthread.h>

/* What slots are concerned with: changed as a whole. */
struct sc_manifest_state {
    struct sc_manifest_identity identity;
    uint64_t floor;

    bool importing;
    bool ready;
    uint64_t import_move;
    struct sc_buf import_cursor, import_mark;

    bool exporting;
    uint64_t export_move;
    struct sc_buf export_mark;

    struct sc_manifest_slot slots[SC_SLOT_COUNT];
};

void sc_manifest_state_free(struct sc_manifest_state *state); /* NULL is allowed */

struct sc_manifest {
    const struct sc_files *dir; /* kept */
    bool lone; /* written without a copy beside it; constant */
    pthread_mutex_t mutex; /* guards what follows */
    struct sc_manifest_state *state;
    uint64_t next_number;
    struct sc_manifest_file *files; /* in the order of their numbers */
    size_t file_count;
    struct sc_manifest_void *voids;
    size_t void_count;
    uint64_t *discarded; /* numbers */
    size_t discarded_count;
    bool dirty; /* something was noted that is not in the file yet */
};

static inline void sc_manifest_lock(struct sc_manifest *manifest)
{
    (void)pthread_mutex_lock(&manifest->mutex);
}

static inline void sc_manifest_unlock(struct sc_manifest *manifest)
{
    (void)pthread_mutex_unlock(&manifest->mutex);
}

/* An empty one, which is not on disk. */
struct sc_manifest *sc_manifest_alloc(const struct sc_files *files);

/* Writes the manifest to disk, with its lock held. SC_IO: the old one is still there. SC_UNKNOWN:
 * only the last sync failed, and after a crash either may be there. */
enum sc_status sc_manifest_save_locked(struct sc_manifest *manifest, char *why);

#endif
