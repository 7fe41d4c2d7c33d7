/*
 * Page: carries out a request for one page of a scan and writes its reply.
 */
#ifndef SC_SHARD_PAGE_H
#define SC_SHARD_PAGE_H

#include "common/msg.h"
#include "shard/bitcask.h"
#include "shard/membership.h"

/* Carries out a scan or x.scan over the slots that are served here, and appends its reply; stores
 * the position that must be committed before the reply may leave. False: values have to be fetched
 * first, nothing was appended, and `fetch` has wants. NULL: waits for the disk instead. */
bool sc_page_execute(struct sc_bitcask *store, const struct sc_membership *membership,
                     const struct sc_msg_request *request, struct sc_fetch *fetch,
                     struct sc_buf *reply, sc_bitcask_position *position);

#endif
