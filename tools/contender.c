#include "tools/contender.h"

#include <stdio.h>
#include <stdlib.h>

const struct sc_contender *const sc_contender_all[] = {
    &sc_contender_shardcask,
#ifdef SC_CONTENDER_ROCKSDB
    &sc_contender_rocksdb,
#endif
#ifdef SC_CONTENDER_LEVELDB
    &sc_contender_leveldb,
#endif
#ifdef SC_CONTENDER_LMDB
    &sc_contender_lmdb,
#endif
    NULL,
};

void sc_contender_check(bool good, const struct sc_contender *contender, const char *why)
{
    if (!good) {
        fprintf(stderr, "shardcask-engine-bench: %s: %s\n", contender->title,
                why != NULL ? why : "failed");
        exit(1);
    }
}
