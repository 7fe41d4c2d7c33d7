/*
 * What the library itself does with a struct shardcask_value.
 */
#ifndef SC_CLIENT_VALUE_H
#define SC_CLIENT_VALUE_H

#include "client/shardcask.h"
#include "common/buf.h"

/* Replaces the content by a copy of `bytes`, which do not lie inside the value; its memory is
 * reused when it is large enough. */
void sc_value_copy(struct shardcask_value *value, struct sc_slice bytes);

#endif
