/*
 * Bitcask: one directory of append-only data files and a keydir in memory; the storage engine of a
 * shard, usable without any network. (Sheehy and Smith, "Bitcask: A Log-Structured Hash Table for
 * Fast Key/Value Data", Basho, 2010.)
 *
 *   put: record -> write buffer -> [commit: one write, one fdatasync] -> data file
 *                       keydir -> (file, offset, size)
 *   get: keydir -> the write buffer while the record is still there, the page cache through a
 *        mapping of the file, or one pread, which another thread can make (sc_bitcask_lend)
 *
 * Formats on disk: docs/FORMAT.md. The directory holds LOCK (flock), MANIFEST (identity, slots,
 * live files), NNNNNNNNNN.data, NNNNNNNNNN.hint and DURABLE (how far the newest file is known
 * synced).
 *
 * Group commit. A write takes effect in memory at once and is durable later: it returns a position
 * in the log, and may be acknowledged when the store has been committed up to there. So may a read
 * that depends on it: whatever was told to anyone must survive a crash. A commit has three steps,
 * so that writes go on while one is on its way to the disk:
 *
 *   sc_bitcask_commit_begin  takes all that waits            with the caller's lock
 *   sc_bitcask_commit_run    write and fdatasync             without it, on any thread
 *   sc_bitcask_commit_end    moves the committed position    with the lock
 *
 * Invariants:
 * - single writer: all calls but sc_bitcask_commit_run are serialised by the caller; at most one
 *   commit is under way;
 * - a record is in the keydir only if it is in the write buffer, in a commit under way, or whole in
 * a data file; disk space for it was reserved before it was taken, so that a full disk refuses a
 *   write (SC_IO, nothing changed) instead of failing a commit;
 * - when a write or fsync fails, nothing further is ever committed: the store is read-only, what
 *   was not committed is answered with SC_IO, and only opening the directory again tells what is
 *   there;
 * - data files are never changed but by appending, and never unlinked here.
 */
#ifndef SC_SHARD_BITCASK_H
#define SC_SHARD_BITCASK_H

#include "common/buf.h"
#include "common/limits.h"
#include "common/slot.h"
#include "common/status.h"

struct sc_bitcask;
struct sc_fetch;

#define SC_BITCASK_SYNC_NEVER (-1)
#define SC_BITCASK_SYNC_ALWAYS 0
#define SC_BITCASK_FILE_SIZE_DEFAULT (UINT64_C(256) << 20)

#define SC_BITCASK_ZEROS_AHEAD (256u << 10)

struct sc_bitcask_options {
    uint64_t file_size_max; /* a data file is sealed when the next record would pass this */
    uint32_t value_max; /* bytes of an encoded value */
    int32_t sync_ms; /* SC_BITCASK_SYNC_ALWAYS, SC_BITCASK_SYNC_NEVER, or at least every so
                        many milliseconds (the caller then runs commits with sync) */
    uint32_t zeros_ahead; /* small commits that sync write so many bytes of zeros ahead, now and
                             then (shard/writer.h); at most SC_BITCASK_ZEROS_AHEAD */
    uint64_t max_memory; /* bytes of the keydir at which new keys are refused; 0: no limit */
    bool read_only; /* refuse writes; nothing in the directory is changed */
    bool salvage; /* take a data file that is missing for an empty one, if its size is known; for
                     who looks for damage, or repairs it */
    /* Called now and then while opening: bytes looked at of bytes in all. NULL: none. */
    void (*on_progress)(void *arg, uint64_t done, uint64_t total);
    void *progress_arg;
};

/* What was wrong in a directory and was survived: a damaged stretch of a data file, a hint that had
 * to be rebuilt, a torn tail that was cut. Called while opening; text is one sentence. */
enum sc_bitcask_event_kind { SC_EVENT_DAMAGE, SC_EVENT_TORN_TAIL, SC_EVENT_HINT, SC_EVENT_OTHER };
struct sc_bitcask_event {
    enum sc_bitcask_event_kind kind;
    char file[32];
    uint64_t offset, size;
    char text[SC_WHY_SIZE];
};
typedef void sc_bitcask_event_fn(void *arg, const struct sc_bitcask_event *event);

/* Opens the store in `dir`, creating the directory and an empty store if there is none. Errors:
 * SC_BUSY another process has it open; SC_IO the system call and file that failed; SC_CORRUPT the
 * directory is not a store, is of a newer format, or misses a file that its manifest names;
 * SC_NOTFOUND there is nothing to be read (with read_only only).
 * `on_event` may be NULL: events are then logged. */
enum sc_status sc_bitcask_open(const char *dir, const struct sc_bitcask_options *options,
                               sc_bitcask_event_fn *on_event, void *event_arg,
                               struct sc_bitcask **store, char *why);

/* Commits and syncs what waits, writes the hint of the newest file, and closes. Returns SC_IO when
 * something could not be made durable. NULL is allowed. No commit may be under way. */
enum sc_status sc_bitcask_close(struct sc_bitcask *store);

/* ---- Identity and slots: durable in the manifest ---- */

struct sc_bitcask_identity {
    bool adopted; /* false: a fresh directory that belongs to no cluster yet */
    uint8_t cluster[16]; /* random id of the cluster */
    uint32_t shard_id;
    uint64_t term; /* the highest term of a coordinator seen */
    uint64_t epoch; /* of the map by which the slots were granted */
};

void sc_bitcask_identity(const struct sc_bitcask *store, struct sc_bitcask_identity *identity);

/* Binds a fresh directory to a cluster, durably before it returns. Repeating it with the same ids
 * is fine; with others it is SC_DENIED. */
enum sc_status sc_bitcask_adopt(struct sc_bitcask *store, const uint8_t cluster[16],
                                uint32_t shard_id, char *why);

/* Records which slots the coordinator has granted (`owned`: a bit for each slot, bit s%8 of byte
 * s/8), with its term and epoch, durably before it returns. Slots that are lost are forgotten: if
 * they come back they come back empty. SC_DENIED: a lower term than was seen before; or, but for
 * the first grant of all, a slot that is neither the store's nor has arrived from another shard.
 * For who has the store for himself; else sc_grant_run (shard/grant.h). */
enum sc_status sc_bitcask_grant(struct sc_bitcask *store, uint64_t term, uint64_t epoch,
                                const uint8_t owned[SC_SLOT_COUNT / 8], char *why);

/* Whether that would be SC_DENIED. */
enum sc_status sc_bitcask_check_grant(const struct sc_bitcask *store, uint64_t term,
                                      const uint8_t owned[SC_SLOT_COUNT / 8], char *why);

/* Whether the manifest says that the slot is owned. */
bool sc_bitcask_owns(const struct sc_bitcask *store, uint32_t slot);

/* The slots that arrive from another shard, and those that leave for one; and by which move. Any
 * thread. */
void sc_bitcask_arriving(const struct sc_bitcask *store, uint8_t slots[SC_SLOT_COUNT / 8]);
void sc_bitcask_leaving(const struct sc_bitcask *store, uint8_t slots[SC_SLOT_COUNT / 8]);
struct sc_bitcask_moves {
    bool importing, exporting;
    bool ready; /* all that arrives is here */
    uint64_t import_move, export_move;
};
struct sc_bitcask_moves sc_bitcask_moves(const struct sc_bitcask *store);

/* Whether slots are sealed, that is, take no writes since they are about to move. */
bool sc_bitcask_is_sealed(const struct sc_bitcask *store);

/* ---- Not waiting for the disk ---- */

/* From now on an operation that needs a record which is not in memory does not read it: it changes
 * nothing, says SC_BUSY, and `fetch` says what to read (shard/fetch.h; SC_BUSY for another reason
 * leaves it without wants). Read that, without the lock, and call the operation again with the same
 * fetch lent. It may want something else then, when the record was overwritten or moved by a merge
 * meanwhile; that it ends is up to the caller, who can lend NULL: operations wait for the disk
 * again, as they do at first. On a filesystem that cannot read without waiting they always do.
 *
 * Concerns get, meta, touch, incr, scan, and put and del with if_version. */
void sc_bitcask_lend(struct sc_bitcask *store, struct sc_fetch *fetch);

/* The most bytes that the value of a key can have as things stand; 0: absent. Reads no disk. */
uint64_t sc_bitcask_value_bound(struct sc_bitcask *store, struct sc_slice key, uint64_t hash);

/* ---- Many operations in one go ---- */

/* Hints to the processor that keys with these hashes are going to be operated on, one after the
 * other and soon: then the waits for memory overlap. `values`: their values are going to be read.
 * As many as a cache has room for: some dozens. */
void sc_bitcask_prefetch(const struct sc_bitcask *store, const uint64_t *hashes, size_t count,
                         bool values);

/* ---- Operations on one key. A write answers SC_BUSY too when the key's slot is sealed, because it
 * is about to move to another shard. hash: sc_slot_hash(key). The caller has checked the key's size
 * and the value's form. `position`: see below; it is set whatever the status. ---- */

/* A point in the log of this process: a reply may leave when sc_bitcask_committed() has reached it.
 * 0: at once. */
typedef uint64_t sc_bitcask_position;

struct sc_bitcask_write {
    const uint64_t *ttl_ms; /* NULL: no expiry ... */
    const uint64_t *expires_ms; /* ... but this one, since 1970; NULL: none */
    const uint64_t *if_version; /* NULL: whatever is there; 0: only if absent */
    const bool *sync; /* NULL: as the store is set */
};

/* Stores; `version` gets the new one. SC_BADREQUEST: an expiry beyond SC_TTL_MS_MAX; one that is
 * over leaves the key absent. SC_MISMATCH: if_version does not hold. SC_BUSY: a new key, and the
 * keydir is as large as it may be. SC_TOOLARGE, SC_IO (disk full or read-only: nothing changed).
 */
enum sc_status sc_bitcask_put(struct sc_bitcask *store, struct sc_slice key, uint64_t hash,
                              struct sc_slice value, const struct sc_bitcask_write *options,
                              uint64_t *version, sc_bitcask_position *position, char *why);

/* Deletes; `existed` tells whether there was something. */
enum sc_status sc_bitcask_del(struct sc_bitcask *store, struct sc_slice key, uint64_t hash,
                              const struct sc_bitcask_write *options, bool *existed,
                              sc_bitcask_position *position, char *why);

/* Appends the encoded value to `value`, which keeps what it had and is unchanged on failure.
 * SC_NOTFOUND; SC_CORRUPT: the record is damaged (file and offset in `why`); SC_IO. */
enum sc_status sc_bitcask_get(struct sc_bitcask *store, struct sc_slice key, uint64_t hash,
                              struct sc_buf *value, sc_bitcask_position *position, char *why);

/* SC_OK or SC_NOTFOUND; reads no disk. */
enum sc_status sc_bitcask_exists(struct sc_bitcask *store, struct sc_slice key, uint64_t hash,
                                 sc_bitcask_position *position);

struct sc_bitcask_meta {
    uint64_t version;
    uint64_t size; /* bytes of the encoded value */
    bool has_ttl;
    uint64_t ttl_ms; /* left, at least 1 */
};
enum sc_status sc_bitcask_meta(struct sc_bitcask *store, struct sc_slice key, uint64_t hash,
                               struct sc_bitcask_meta *meta, sc_bitcask_position *position,
                               char *why);

/* Sets (ttl_ms) or removes (NULL) the expiry: a new record with the same value. */
enum sc_status sc_bitcask_touch(struct sc_bitcask *store, struct sc_slice key, uint64_t hash,
                                const uint64_t *ttl_ms, uint64_t *version,
                                sc_bitcask_position *position, char *why);

/* Adds to an integer; absent counts as 0, the expiry stays. SC_WRONGTYPE: not an int64, or the sum
 * would not be one. */
enum sc_status sc_bitcask_incr(struct sc_bitcask *store, struct sc_slice key, uint64_t hash,
                               int64_t delta, int64_t *result, sc_bitcask_position *position,
                               char *why);

/* ---- Operations on many ---- */

/* Live keys in the slots that `owned` has a bit for (NULL: all). */
uint64_t sc_bitcask_count(struct sc_bitcask *store, const uint8_t *owned,
                          sc_bitcask_position *position);

/* Removes every key of those slots (NULL: all) by range-deletion records; stores how many keys
 * there were. */
enum sc_status sc_bitcask_clear(struct sc_bitcask *store, const uint8_t *owned, uint64_t *removed,
                                sc_bitcask_position *position, char *why);

/* One page of a scan in the order of (hash, key). */
struct sc_bitcask_scan {
    struct sc_slice cursor; /* empty: from the start; else as given with the last page */
    uint32_t first_slot; /* slots before this and behind last_slot are left out */
    uint32_t last_slot;
    const uint8_t *owned; /* only slots with a bit here; NULL: all */
    struct sc_slice prefix; /* only keys that begin with it */
    uint32_t limit; /* keys at most */
    bool values;
    size_t bytes_max; /* a page ends when it has grown beyond this */
    uint64_t visits_max; /* ... or so many keys were looked at */
};
/* Called for each key of the page; value.data is NULL unless it was asked for and could be read.
 * Slices are valid during the call. */
typedef void sc_bitcask_scan_fn(void *arg, struct sc_slice key, struct sc_slice value);
/* Stores into `next` the cursor of the next page; empty when the end was reached. SC_BADREQUEST:
 * the cursor is none of ours. A page ends in front of a value that cannot be read. Such values have
 * pages of their own: SC_CORRUPT or SC_IO, `why` is that of the first of them, and the page has the
 * keys that cannot be read, up to the next that can; the scan may go on from `next`.
 *
 * Lent a fetch, a page that needs values which are not in memory wants them all and says SC_BUSY:
 * what was given to `visit` is void then, `next` is untouched. Called again, it ends in front of a
 * value that still is not in memory, but not with nothing. */
enum sc_status sc_bitcask_scan(struct sc_bitcask *store, const struct sc_bitcask_scan *scan,
                               sc_bitcask_scan_fn *visit, void *arg, struct sc_buf *next,
                               sc_bitcask_position *position, char *why);

/* The cursor that starts a scan at a slot: for scans that go from shard to shard. */
void sc_bitcask_cursor_at_slot(uint32_t slot, struct sc_buf *cursor);

/* Removes expired keys from the keydir, looking at up to `slots` slots, at fewer when there are
 * thousands of such keys; for a timer. Returns how many. */
uint64_t sc_bitcask_sweep(struct sc_bitcask *store, uint32_t slots);

/* Looks which of the data that is read through mappings has left the page cache (shard/warmth.h);
 * for a timer, at least every tenth of a second. */
void sc_bitcask_look(struct sc_bitcask *store);

/* ---- Group commit ---- */

/* Up to here everything may be acknowledged. UINT64_MAX never occurs. */
sc_bitcask_position sc_bitcask_committed(const struct sc_bitcask *store);

/* The position of the newest write. */
sc_bitcask_position sc_bitcask_appended(const struct sc_bitcask *store);

/* True when a commit would have something to do for acknowledgements that wait: something to write,
 * or something written that must be synced before it is acknowledged. */
bool sc_bitcask_commit_wanted(const struct sc_bitcask *store);

/* True when that needs an fdatasync; else it is one write(2), which a caller may do inline. */
bool sc_bitcask_commit_needs_sync(const struct sc_bitcask *store);

struct sc_bitcask_commit; /* owned by the store, one at a time */

/* Takes what waits; NULL if there is nothing to do. `sync`: sync all that was written, wanted or
 * not (the periodic sync of sync_ms, the "sync" operation). */
struct sc_bitcask_commit *sc_bitcask_commit_begin(struct sc_bitcask *store, bool sync);
void sc_bitcask_commit_run(struct sc_bitcask_commit *commit);
/* SC_IO: it failed, the store is read-only from now on. */
enum sc_status sc_bitcask_commit_end(struct sc_bitcask *store, struct sc_bitcask_commit *commit);

/* The three steps at once. */
enum sc_status sc_bitcask_commit(struct sc_bitcask *store, bool sync);

/* What the store will need soon and takes long, so that no write has to wait for it: the next data
 * file, and disk space given back behind a full one. NULL: nothing is needed now. As with commits
 * there is one at a time, run needs no lock and goes on beside commits; sc_ahead_poll
 * (shard/ahead.h) does all that. Who never begins has writes that take longer now and then. */
struct sc_bitcask_help;
struct sc_bitcask_help *sc_bitcask_help_begin(struct sc_bitcask *store);
void sc_bitcask_help_run(struct sc_bitcask_help *help);
void sc_bitcask_help_end(struct sc_bitcask *store, struct sc_bitcask_help *help);

/* Why the store refuses writes, or NULL when it does not. */
const char *sc_bitcask_failed(const struct sc_bitcask *store);

/* A reply that waits for a position beyond what can ever be committed must be answered with SC_IO
 * instead: true when the store has failed and `position` was not committed. */
static inline bool sc_bitcask_lost(const struct sc_bitcask *store, sc_bitcask_position position)
{
    return position > sc_bitcask_committed(store) && sc_bitcask_failed(store) != NULL;
}

/* ---- Background work on sealed files ---- */

/* Merges are held, because slots move: what is under way should be given up soon. Any thread. */
bool sc_bitcask_merges_held(const struct sc_bitcask *store);

/* Seals write no hint themselves: this builds the hint of one sealed file that has none. It works
 * on files that no longer change and may run on a thread of its own beside everything but close;
 * pending is asked with the lock, build runs without it. */
bool sc_bitcask_hint_pending(struct sc_bitcask *store, uint64_t *file_number);
enum sc_status sc_bitcask_hint_build(const struct sc_bitcask *store, uint64_t file_number);
void sc_bitcask_hint_built(struct sc_bitcask *store, uint64_t file_number, enum sc_status status);

/* ---- Figures ---- */

struct sc_bitcask_stats {
    uint64_t keys; /* in the keydir, expired but unswept ones included */
    uint64_t keydir_bytes; /* memory of the keydir */
    uint64_t files;
    uint64_t file_bytes; /* on disk */
    uint64_t live_bytes; /* of records that the keydir points to */
    uint64_t dead_bytes; /* the rest: overwritten, deleted, expired */
    uint64_t held_bytes; /* of files that are merged away, but wait for a snapshot or backup */
    uint64_t tombstones; /* on disk */
    uint64_t puts, gets, dels, hits, misses;
    uint64_t commits, syncs;
    uint64_t bytes_written;
    uint64_t damaged_records; /* damage found since open, while opening included */
    uint64_t damage; /* of that, what is still there as far as is known */
    uint64_t expired; /* swept since open */
    uint64_t cold_reads; /* values that were not in memory when they were asked for */
    uint64_t open_us; /* how long opening took */
};
void sc_bitcask_stats(const struct sc_bitcask *store, struct sc_bitcask_stats *stats);

/* ---- Damage ---- */

struct sc_damage;
struct sc_damages;
struct sc_files;

/* What is known to be damaged (shard/damages.h). Valid until the next call. */
const struct sc_damages *sc_bitcask_damages(const struct sc_bitcask *store);

/* The directory. */
const struct sc_files *sc_bitcask_files(const struct sc_bitcask *store);

/* Whether a damaged record is still the newest of its key. */
bool sc_bitcask_is_live(const struct sc_bitcask *store, const struct sc_damage *damage);

/* What a slot holds: keys, expired but unswept ones included, and the bytes of their records. */
struct sc_bitcask_slot {
    uint64_t keys;
    uint64_t bytes;
};
struct sc_bitcask_slot sc_bitcask_slot(const struct sc_bitcask *store, uint32_t slot);

/* What options.max_memory says. */
uint64_t sc_bitcask_memory_max(const struct sc_bitcask *store);

/* Bytes that are free on the disk of the directory; 0 also when nobody knows. */
uint64_t sc_bitcask_disk_free(const struct sc_bitcask *store);

#endif
