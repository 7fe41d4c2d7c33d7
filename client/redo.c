#include "client/redo.h"

#include "client/operation.h"
#include "common/status.h"

static uint32_t slot_of(const struct shardcask_op *op)
{
    return sc_slot_of_key(sc_slice(op->key, op->key_size));
}

static bool has(const uint8_t *slots, uint32_t slot)
{
    return (slots[slot / 8] >> (slot % 8) & 1) != 0;
}

static void add(uint8_t *slots, uint32_t slot)
{
    slots[slot / 8] = (uint8_t)(slots[slot / 8] | 1u << (slot % 8));
}

static bool may_have_changed(const struct shardcask_op *op)
{
    switch (op->status) {
    case SC_OK:
    case SC_UNKNOWN:
    case SC_IO:
    case SC_CORRUPT:
    case SC_INTERNAL:
        return sc_operation_writes(op);
    default:
        return false;
    }
}

bool sc_redo_note(struct sc_redo *redo, const struct shardcask_op *op, bool refused)
{
    if (!redo->any && !refused) {
        return false;
    }
    if (!redo->any) {
        *redo = (struct sc_redo){.any = true};
    }
    uint32_t slot = slot_of(op);
    if (refused) {
        add(redo->refused, slot);
        return true;
    }
    if (!has(redo->refused, slot)) {
        return false;
    }
    if (may_have_changed(op)) {
        add(redo->given_up, slot);
        return false;
    }
    return true;
}

bool sc_redo_again(const struct sc_redo *redo, const struct shardcask_op *op)
{
    return !has(redo->given_up, slot_of(op));
}
