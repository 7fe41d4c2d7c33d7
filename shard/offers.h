/*
 * Offers: records on their way to the keydir while a store is opened.
 *
 * Keys come from the files in the order in which they were written, that is all over the keydir,
 * and every one would wait for memory several times. So they are gathered, some hundred thousand at
 * a time, and offered slot by slot: what one slot consists of then stays in the processor's caches
 * until the next slot's turn. Order does not matter to the keydir, the version decides.
 *
 * It also keeps the account of live bytes in the segments.
 */
#ifndef SC_SHARD_OFFERS_H
#define SC_SHARD_OFFERS_H

#include "shard/keydir.h"
#include "shard/record.h"

struct sc_bitcask;
struct sc_offers;

struct sc_offers *sc_offers_alloc(struct sc_bitcask *store); /* keeps the store */

/* Drops what was not flushed; NULL is allowed. */
void sc_offers_free(struct sc_offers *offers);

/* Takes a put or a tombstone; its key is copied, its value not looked at. */
void sc_offers_add(struct sc_offers *offers, const struct sc_record *record, uint64_t hash,
                   struct sc_location location);

/* Takes a clear. */
void sc_offers_clear(struct sc_offers *offers, const struct sc_record *record);

/* Offers what was gathered. */
void sc_offers_flush(struct sc_offers *offers);

/* Offers one record at once, to a slot that has versions, and keeps the account. */
void sc_offers_take(struct sc_bitcask *store, const struct sc_record *record, uint64_t hash,
                    struct sc_location location);

#endif
