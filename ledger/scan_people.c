/* A user's row, made once more from the leaves about that user (rules_people.c makes it
 * while they are applied). */
#include <string.h>

#include "base/check.h"
#include "ledger/scan_internal.h"

struct life {
    struct table_txn *txn;
    const struct id *id;
    struct user *user;
    bool made;
    struct buffer value, leaf_bytes;
    struct leaf leaf;
    struct arguments args;
};

static void set_text(char *out, size_t size, struct bytes text)
{
    memset(out, 0, size);
    if (text.size && text.size < size) memcpy(out, text.data, text.size);
}

static void set_login(struct user *user, const struct digest *tag)
{
    static const struct digest none;
    if (digest_equal(tag, &none)) return;
    user->has_login = true;
    user->login_tag = *tag;
}

static void create(struct life *l)
{
    const struct args_user_create *args = &l->args.user_create;
    struct user *user = l->user;
    memset(user, 0, sizeof *user);
    set_text(user->hospital, sizeof user->hospital, args->hospital);
    set_text(user->role, sizeof user->role, args->role);
    user->created = user->person_index = l->leaf.index;
    user->key_count = args->key_count;
    for (uint32_t i = 0; i < args->key_count; i++) user->keys[i].key = args->keys[i];
    set_login(user, &args->login_tag);
    l->made = true;
}

static void update(struct life *l)
{
    const struct args_user_update *args = &l->args.user_update;
    if (args->hospital.size) set_text(l->user->hospital, sizeof l->user->hospital, args->hospital);
    if (operation_has_attachment(&l->leaf.operation)) l->user->person_index = l->leaf.index;
    set_login(l->user, &args->login_tag);
}

static int first_revoked(const struct user *user)
{
    for (uint32_t i = 0; i < user->key_count; i++)
        if (user->keys[i].revoked) return (int)i;
    return -1;
}

/* false: no such key, or no room: the leaf would have been denied. */
static bool change_key(struct life *l)
{
    const struct args_user_key *args = &l->args.user_key;
    struct user *user = l->user;
    struct key_id id = key_id_of(&args->key);
    int at = args->revoke ? user_key_find(user, &id) : -1;
    if (args->revoke) {
        if (at >= 0) user->keys[at].revoked = true;
        return at >= 0;
    }
    if (user->key_count == LIMIT_KEYS_PER_USER) {
        at = first_revoked(user);
        if (at < 0) return false;
        user->key_count--;
        memmove(&user->keys[at], &user->keys[at + 1], (user->key_count - (size_t)at) * sizeof user->keys[0]);
    }
    user->keys[user->key_count++] = (struct user_key){.key = args->key};
    return true;
}

static const struct id *target_of(const struct arguments *args)
{
    if (args->action == ACTION_USER_CREATE) return &args->user_create.user;
    if (args->action == ACTION_USER_UPDATE) return &args->user_update.user;
    if (args->action == ACTION_USER_DISABLE) return &args->user_disable.user;
    if (args->action == ACTION_USER_KEY) return &args->user_key.user;
    return args->action == ACTION_ROLE_ASSIGN ? &args->role_assign.user : NULL;
}

/* The leaf in hand, if it is about this user's row. ERR_CORRUPT: it can't have been approved. */
static enum err take(struct life *l)
{
    const struct id *target = target_of(&l->args);
    if (!target || !id_equal(target, l->id)) return OK;
    if (l->made == (l->args.action == ACTION_USER_CREATE)) return ERR_CORRUPT;
    if (l->args.action == ACTION_USER_CREATE) create(l);
    if (l->args.action == ACTION_USER_UPDATE) update(l);
    if (l->args.action == ACTION_USER_DISABLE) l->user->disabled = l->args.user_disable.disabled;
    if (l->args.action == ACTION_ROLE_ASSIGN)
        set_text(l->user->role, sizeof l->user->role, l->args.role_assign.role);
    return l->args.action != ACTION_USER_KEY || change_key(l) ? OK : ERR_CORRUPT;
}

static enum err look_at(struct life *l, struct table_cursor *c, uint64_t index)
{
    struct log_facts facts;
    enum err err = table_cursor_value(c, &l->value);
    if (err == OK) err = state_log_facts_decode(&facts, buffer_bytes(&l->value));
    if (err != OK) return err;
    bool about = facts.action >= ACTION_USER_CREATE && facts.action <= ACTION_ROLE_ASSIGN;
    if (facts.decision != DECISION_APPROVED || !about) return OK;
    err = derive_load(&l->leaf, &l->args, &l->leaf_bytes, l->txn, index);
    if (err == ERR_NOT_FOUND) return ERR_CORRUPT; /* the log names it */
    return err == OK ? take(l) : err;
}

static void begin_life(struct life *l, const struct genesis *genesis)
{
    memset(l->user, 0, sizeof *l->user);
    for (uint32_t i = 0; i < genesis->admin_count; i++)
        if (id_equal(&genesis->admins[i].id, l->id)) {
            strcpy(l->user->role, ROLE_ROOT);
            l->user->key_count = 1;
            l->user->keys[0].key = genesis->admins[i].key;
            l->made = true;
        }
}

enum err derive_user(struct user *out, struct table_txn *txn, const struct genesis *genesis, const struct id *id)
{
    struct life l = {.txn = txn, .id = id, .user = out};
    struct table_cursor *c;
    uint8_t key[LOG_SUBJECT_KEY];
    unsigned rows = 0;
    begin_life(&l, genesis);
    state_log_subject_key(key, id, 0);
    enum err err = table_cursor_open(&c, txn, TABLE_LOG_SUBJECT);
    if (err != OK) return err;
    for (err = table_cursor_seek(c, BYTES(key)); err == OK; err = table_cursor_next(c)) {
        struct bytes at = table_cursor_key(c);
        if (at.size != sizeof key || memcmp(at.data, id->bytes, 16) != 0) break;
        if (++rows > SCAN_SEARCH) err = ERR_TOO_LARGE;
        if (err == OK) err = look_at(&l, c, get_be64(at.data + 16));
        if (err != OK) break;
    }
    table_cursor_close(c);
    buffer_free(&l.value);
    buffer_free(&l.leaf_bytes);
    if (err == ERR_NOT_FOUND) err = OK;
    return err == OK && !l.made ? ERR_NOT_FOUND : err;
}
