/* A store in a temporary directory, and short words for what tests do with it. Every helper aborts
 * the test when something fails that the test is not about. */
#ifndef SC_TESTS_SHARD_STORE_H
#define SC_TESTS_SHARD_STORE_H

#include "shard/bitcask.h"
#include "shard/durable.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Sanitizers make everything slower: there, what is done for every byte is done for every third. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STRIDE 3u
#else
#define STRIDE 1u
#endif

#define EVENTS_MAX 4096

/* Readable: all. */
struct fixture {
    char dir[256];
    struct sc_bitcask_options options;
    struct sc_bitcask *store;
    struct sc_bitcask_event *events; /* of all openings */
    size_t event_count;
    char why[SC_WHY_SIZE];
    sc_bitcask_position position; /* of the last operation */
};

void fixture_init(struct fixture *f);
/* Closes if open and removes the directory. */
void fixture_fini(struct fixture *f);

/* Opens; the events of this opening are f->events[0..event_count). */
enum sc_status fixture_try_open(struct fixture *f);
void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);
/* Closes without committing anything: what a killed process leaves. */
void fixture_kill(struct fixture *f);
void fixture_reopen(struct fixture *f);

size_t fixture_events(const struct fixture *f, enum sc_bitcask_event_kind kind);

/* Operations on strings, each committed at once. */
uint64_t put(struct fixture *f, const char *key, const char *value);
bool del(struct fixture *f, const char *key);
/* The status; the value, NUL-terminated, in a static buffer when found. */
enum sc_status get(struct fixture *f, const char *key, const char **value);
void expect(struct fixture *f, const char *key, const char *value); /* NULL: absent */
void commit(struct fixture *f);

/* ---- Files ---- */

/* The number of data files, and the path of one by its index in the order of names. */
size_t data_files(const char *dir);
void data_path(const char *dir, size_t index, char path[512]);
struct sc_buf file_read(const char *path); /* the caller frees it */
void file_write(const char *path, const void *data, size_t size);
void file_flip(const char *path, uint64_t offset, uint8_t bits);
void dir_copy(const char *from, const char *to); /* `to` is made */
void dir_remove(const char *dir);
void temporary_dir(char dir[256]);

/* Sends the log of this process nowhere: for tests that damage things on purpose. */
void quiet(void);

/* How far DURABLE says that all is synced; {0, 0} without a mark. */
struct sc_durable_mark synced_mark(const char *dir);

/* Makes the durable mark look as if another boot had written it, as after a power failure; with
 * `lag` bytes less synced than it says. */
void forget_boot(const char *dir, uint64_t lag);

/* What the power took when it failed: of what is not known to be synced, a part chosen by `dice`
 * is lost, and another boot follows. The store is not open. */
void lose_power(const char *dir, uint64_t (*dice)(uint64_t limit));

#endif
