#include "shard/damage.h"

#include <stdio.h>

bool sc_damage_is_note(const struct sc_damage *damage)
{
    return damage->kind >= SC_DAMAGE_TORN;
}

const char *sc_damage_name(enum sc_damage_kind kind)
{
    static const char *const names[] = {
#define NAME(enumerator, name) [enumerator] = (name),
        SC_DAMAGE_LIST(NAME)
#undef NAME
    };
    return names[kind];
}

void sc_damage_file(const struct sc_damage *damage, char name[SC_FILES_NAME_SIZE])
{
    switch (damage->kind) {
    case SC_DAMAGE_MANIFEST:
        (void)snprintf(name, SC_FILES_NAME_SIZE, "%s", SC_FILES_MANIFEST);
        break;
    case SC_DAMAGE_DURABLE:
        (void)snprintf(name, SC_FILES_NAME_SIZE, "%s", SC_FILES_DURABLE);
        break;
    case SC_DAMAGE_HINT:
        sc_files_hint_name(name, damage->file);
        break;
    default:
        sc_files_data_name(name, damage->file);
        break;
    }
}

/* A stretch, the end of a file, or all of it. */
static const char *meaning_of_loss(const struct sc_damage *damage)
{
    if (damage->known) {
        return "its hint tells what stood there: the keys whose values are lost are listed";
    }
    return "what stood there is not known: keys may be missing, have an older value, or be back "
           "though they were deleted";
}

const char *sc_damage_meaning(const struct sc_damage *damage)
{
    switch (damage->kind) {
    case SC_DAMAGE_VALUE:
    case SC_DAMAGE_RECORD:
    case SC_DAMAGE_LOST:
        return damage->live
                   ? "the value of the key is lost: reading it answers corrupt until it is "
                     "written or deleted"
                   : "nothing is lost: the record is not needed any more";
    case SC_DAMAGE_STRETCH:
    case SC_DAMAGE_END:
    case SC_DAMAGE_FILE:
        return meaning_of_loss(damage);
    case SC_DAMAGE_HEAD:
        return "nothing is lost: the records are read all the same";
    case SC_DAMAGE_HINT:
        return "nothing is lost: it is built again from its data file";
    case SC_DAMAGE_MANIFEST:
        return "nothing is lost: there is another copy";
    case SC_DAMAGE_DURABLE:
        return "nothing is lost: damage at the end of the newest file counts as the trace of a "
               "crash";
    case SC_DAMAGE_TORN:
        return "the trace of a crash: no whole record, nothing acknowledged; cut off when the "
               "store is opened";
    case SC_DAMAGE_VOID:
        return "the trace of a crash: nothing acknowledged; passed over";
    default:
        return "the data file has no hint, or one that does not tell all of it: opening the store "
               "takes longer";
    }
}
