// The public header is usable from C++ as it stands.
#include "shardcask.h"

int main()
{
    shardcask_value value = SHARDCASK_VALUE_INIT;
    shardcask_op op = {};
    op.kind = SHARDCASK_OP_GET;
    shardcask_value_free(&value);
    shardcask_op_clear(&op);
    return shardcask_status_text(SHARDCASK_OK) == nullptr;
}
