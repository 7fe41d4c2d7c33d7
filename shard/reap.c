#include "shard/reap.h"

#include "common/failpoint.h"
#include "common/log.h"
#include "shard/bitcask_impl.h"
#include "shard/io.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* ---- Pins ---- */

void sc_reap_pin(struct sc_bitcask *store, struct sc_reap_pin *pin)
{
    *pin = (struct sc_reap_pin){.next = store->pins, .era = ++store->era};
    store->pins = pin;
}

void sc_reap_unpin(struct sc_bitcask *store, struct sc_reap_pin *pin)
{
    struct sc_reap_pin **link = &store->pins;
    while (*link != pin) {
        link = &(*link)->next;
    }
    *link = pin->next;
}

/* The era of the oldest pin. */
static uint64_t oldest(const struct sc_bitcask *store)
{
    uint64_t era = UINT64_MAX;
    for (const struct sc_reap_pin *pin = store->pins; pin != NULL; pin = pin->next) {
        era = pin->era < era ? pin->era : era;
    }
    return era;
}

/* ---- Segments ---- */

void sc_reap_doom(struct sc_bitcask *store, struct sc_segment *segment, bool keep)
{
    assert(segment->retired && segment->live_bytes == 0 && !segment->doomed);
    segment->doomed = true;
    segment->doomed_era = store->era;
    segment->keep_file = keep;
    store->doomed++;
}

static bool is_free(const struct sc_segment *segment, uint64_t oldest_era)
{
    return segment != NULL && segment->doomed && segment->doomed_era < oldest_era &&
           segment->readers == 0;
}

bool sc_reap_wanted(const struct sc_bitcask *store)
{
    uint64_t era = store->doomed > 0 ? oldest(store) : 0;
    for (size_t i = 0; i < store->segment_count && store->doomed > 0; i++) {
        if (is_free(store->segments[i], era)) {
            return true;
        }
    }
    return false;
}

void sc_reap_take(struct sc_bitcask *store, struct sc_reap_list *list)
{
    uint64_t era = oldest(store);
    for (size_t i = 0; i < store->segment_count && store->doomed > 0; i++) {
        if (list->count < SC_REAP_MAX && is_free(store->segments[i], era)) {
            list->segments[list->count++] = store->segments[i];
            store->segments[i] = NULL;
            store->doomed--;
        }
    }
}

/* ---- Files ---- */

/* Removes a data file and its hint. False: the data file is still there. */
static bool remove_files(const struct sc_files *files, uint64_t number)
{
    char name[SC_FILES_NAME_SIZE];
    sc_files_hint_name(name, number);
    (void)sc_io_unlink(files->dir_fd, name); /* there need not be one */
    sc_files_data_name(name, number);
    if (sc_io_unlink(files->dir_fd, name) != 0 && errno != ENOENT) {
        sc_log_warn("cannot remove %s in %s: %s; the next start does", name, files->path,
                    strerror(errno));
        return false;
    }
    return true;
}

void sc_reap_remove(const struct sc_bitcask *store, struct sc_reap_list *list)
{
    char why[SC_WHY_SIZE];
    uint64_t numbers[SC_REAP_MAX];
    size_t removed = 0;
    for (size_t i = 0; i < list->count; i++) {
        struct sc_segment *segment = list->segments[i];
        if (!segment->keep_file && remove_files(&store->files, segment->number)) {
            numbers[removed++] = segment->number;
        }
        sc_segment_close(segment);
        sc_failpoint("merge_unlinked");
    }
    list->count = 0;
    if (removed == 0) {
        return;
    }
    /* They need no longer be listed as discarded when it is certain that they are gone. */
    if (sc_files_sync(&store->files, why) != SC_OK) {
        sc_log_warn("%s", why);
        return;
    }
    for (size_t i = 0; i < removed; i++) {
        sc_manifest_forget_discarded(store->manifest, numbers[i]);
    }
}
