#include "ledger/scan_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/pack.h"
#include "ledger/attachment.h"
#include "ledger/content.h"

#define POSITION_VERSION 1

/* --- helpers --- */

struct scan_work *scan_work_new(void) { return xcalloc(1, sizeof(struct scan_work)); }

void scan_work_free(struct scan_work *w)
{
    if (!w) return;
    buffer_free(&w->leaf_bytes);
    buffer_free(&w->row);
    buffer_free(&w->attachment);
    buffer_free(&w->value);
    buffer_free(&w->other);
    free(w);
}

const char *scan_table_name(uint8_t table)
{
    for (size_t i = 0; i < ledger_tables_count; i++)
        if (ledger_tables[i].table == table) return ledger_tables[i].name;
    return "?";
}

void scan_damage(struct damage *out, enum damage_kind kind, enum table_number table, struct bytes key, uint64_t index,
                 bool gone, const char *format, ...)
{
    va_list arguments;
    *out = (struct damage){.kind = kind, .gone = gone, .table = (uint8_t)table, .index = index};
    CHECK(key.size <= sizeof out->key);
    if (key.size) memcpy(out->key, key.data, key.size);
    out->key_size = (uint16_t)key.size;
    va_start(arguments, format);
    vsnprintf(out->text, sizeof out->text, format, arguments);
    va_end(arguments);
}

bool scan_is_structure(struct table_txn *txn, uint8_t table, struct bytes key)
{
    return table_exists(txn, table, key) == ERR_CORRUPT;
}

static bool passed(const struct scan *s, enum damage_kind kind) { return (s->passed & 1u << kind) != 0; }

/* A value, or why not: OK, ERR_NOT_FOUND and ERR_CORRUPT are findings; the rest ends the step. */
static bool is_finding(enum err err) { return err == OK || err == ERR_NOT_FOUND || err == ERR_CORRUPT; }

static unsigned long long u(uint64_t n) { return (unsigned long long)n; }

/* --- passes and positions --- */

void scan_begin(struct scan *s, const struct genesis *genesis)
{
    struct scan_work *work = s->work ? s->work : scan_work_new();
    memset(work->roles, 0, sizeof work->roles); /* they are of later leaves */
    *s = (struct scan){.genesis = genesis, .work = work};
}

void scan_free(struct scan *s)
{
    scan_work_free(s->work);
    s->work = NULL;
}

/* Leaves are half of the work, by and large: every row but theirs is read once more. */
unsigned scan_permille(const struct scan *s)
{
    unsigned tables = 0, before = 0;
    if (s->phase == SCAN_DONE) return 1000;
    if (s->end == 0) return 0;
    if (s->phase == SCAN_LEAVES) return (unsigned)(s->tree.size * 500 / s->end);
    for (size_t i = 0; i < ledger_tables_count; i++) {
        tables++;
        before += ledger_tables[i].table < s->table;
    }
    return 500 + before * 500 / tables;
}

void scan_encode(struct buffer *out, const struct scan *s)
{
    pack_array(out, 12);
    pack_uint(out, POSITION_VERSION);
    pack_uint(out, s->phase);
    pack_uint(out, s->end);
    pack_uint(out, s->bytes);
    pack_uint(out, s->rows);
    pack_uint(out, s->tree.size);
    pack_array(out, (uint32_t)__builtin_popcountll(s->tree.size));
    for (unsigned level = 0; level < TREE_LEVELS; level++)
        if (s->tree.size >> level & 1) pack_digest(out, &s->tree.peaks[level]);
    pack_digest(out, &s->last);
    pack_uint(out, s->time_ms);
    pack_uint(out, s->table);
    pack_bin(out, s->key, s->key_size);
    pack_uint(out, s->passed);
}

static void unpack_position(struct scan *s, struct unpack *in)
{
    unpack_array_of(in, 12);
    if (unpack_uint(in) != POSITION_VERSION) unpack_fail(in, ERR_VERSION);
    s->phase = (enum scan_phase)unpack_uint_max(in, SCAN_DONE);
    s->end = unpack_uint_max(in, TREE_SIZE_MAX);
    s->bytes = unpack_uint(in);
    s->rows = unpack_uint(in);
    s->tree.size = unpack_uint_max(in, s->end);
    unpack_array_of(in, (uint32_t)__builtin_popcountll(s->tree.size));
    for (unsigned level = 0; level < TREE_LEVELS; level++)
        if (s->tree.size >> level & 1) s->tree.peaks[level] = unpack_digest(in);
    s->last = unpack_digest(in);
    s->time_ms = unpack_uint(in);
    s->table = (uint8_t)unpack_uint_max(in, TABLE_COUNT_MAX - 1);
    struct bytes key = unpack_bin(in, TABLE_KEY_MAX);
    if (key.size) memcpy(s->key, key.data, key.size);
    s->key_size = (uint16_t)key.size;
    s->passed = (unsigned)unpack_uint_max(in, UINT32_MAX);
}

enum err scan_decode(struct scan *s, const struct genesis *genesis, struct bytes in)
{
    struct unpack unpack = unpack_start(in);
    scan_begin(s, genesis);
    unpack_position(s, &unpack);
    if (unpack_done(&unpack) == OK && (s->end > 0 || s->phase == SCAN_LEAVES)) return OK;
    scan_begin(s, genesis);
    return ERR_CORRUPT;
}

/* --- a leaf and its row of the tree --- */

struct leaf_look {
    enum err leaf, row;   /* of getting them */
    bool decodes;         /* the leaf: well-formed, at its index, next in the chain */
    struct digest hash;   /* of the leaf's bytes, when there are any */
    struct tree after;    /* the frontier, if the hash is the right one */
    struct tree_row expected;
    bool row_fits;
};

static bool follows(const struct scan *s, const struct leaf *leaf)
{
    return leaf->index == s->tree.size && digest_equal(&leaf->previous, &s->last) && leaf->time_ms >= s->time_ms;
}

static enum err look_at_leaf(struct scan *s, struct table_txn *txn, struct leaf_look *out)
{
    struct scan_work *w = s->work;
    uint8_t key[8];
    struct bytes at = scan_key(key, s->tree.size);
    memset(out, 0, sizeof *out);
    out->leaf = table_get(txn, TABLE_LEAF, at, &w->leaf_bytes);
    out->row = table_get(txn, TABLE_TREE, at, &w->row);
    s->bytes += w->leaf_bytes.size + w->row.size;
    s->rows += 2;
    if (!is_finding(out->leaf)) return out->leaf;
    if (!is_finding(out->row)) return out->row;
    if (out->leaf != OK) return OK;
    leaf_hash(&out->hash, buffer_bytes(&w->leaf_bytes));
    out->decodes = leaf_decode(&w->leaf, buffer_bytes(&w->leaf_bytes)) == OK && follows(s, &w->leaf);
    out->after = s->tree;
    tree_append(&out->after, &out->expected, &out->hash);
    struct bytes expected = bytes_of(out->expected.hashes, out->expected.count * sizeof out->expected.hashes[0]);
    out->row_fits = out->row == OK && bytes_equal(expected, buffer_bytes(&w->row));
    return OK;
}

/* The hash of leaf `index` by what comes after it: the next leaf, or the state. */
static enum err hash_by_next(struct scan *s, struct table_txn *txn, struct digest *out, uint64_t index,
                             const struct meta *meta)
{
    uint8_t key[8];
    struct leaf next;
    if (index + 1 == meta->size) {
        *out = meta->last;
        return OK;
    }
    enum err err = table_get(txn, TABLE_LEAF, scan_key(key, index + 1), &s->work->other);
    if (err == OK && leaf_decode(&next, buffer_bytes(&s->work->other)) != OK) err = ERR_CORRUPT;
    if (err == OK) *out = next.previous;
    return err;
}

/* What most say that the hash of a damaged leaf must be: its own bytes, its row, the leaf after it. */
static enum err settle_hash(struct scan *s, struct table_txn *txn, struct leaf_look *look, const struct meta *meta)
{
    struct digest by_row, by_next;
    uint64_t index = s->tree.size;
    bool row = look->row == OK && tree_row_pick(&by_row, buffer_bytes(&s->work->row), index, 0) == OK;
    enum err err = hash_by_next(s, txn, &by_next, index, meta);
    bool next = err == OK;
    if (!is_finding(err)) return err;
    bool own = look->leaf == OK;
    bool own_stands = own && ((next && digest_equal(&look->hash, &by_next)) ||
                              (row && digest_equal(&look->hash, &by_row)));
    if (!own_stands && (row || next)) look->hash = row ? by_row : by_next;
    look->decodes &= own_stands;
    look->after = s->tree;
    tree_append(&look->after, NULL, &look->hash);
    return OK;
}

static void tell_leaf(struct scan *s, struct table_txn *txn, struct damage *found, const struct leaf_look *look,
                      const struct meta *meta)
{
    uint8_t key[8];
    struct digest by_next;
    uint64_t i = s->tree.size;
    struct bytes at = scan_key(key, i);
    if (look->leaf == ERR_NOT_FOUND) {
        scan_damage(found, DAMAGE_LEAF, TABLE_LEAF, at, i, true, "leaf %llu is gone", u(i));
    } else if (look->leaf == ERR_CORRUPT) {
        scan_damage(found, DAMAGE_LEAF, TABLE_LEAF, at, i, false, "leaf %llu: its seal does not open", u(i));
    } else if (!look->decodes) {
        scan_damage(found, DAMAGE_LEAF, TABLE_LEAF, at, i, false, "leaf %llu does not follow the one before it", u(i));
    } else if (look->row != OK) {
        scan_damage(found, DAMAGE_LEAF, TABLE_TREE, at, i, look->row == ERR_NOT_FOUND, "the tree's row of leaf %llu %s",
                    u(i), look->row == ERR_NOT_FOUND ? "is gone" : "has a seal that does not open");
    } else {
        bool leaf_stands =
            hash_by_next(s, txn, &by_next, i, meta) == OK && digest_equal(&by_next, &look->hash);
        scan_damage(found, DAMAGE_LEAF, leaf_stands ? TABLE_TREE : TABLE_LEAF, at, i, false,
                    leaf_stands ? "the tree's row of leaf %llu has other hashes than the leaves before it"
                                : "leaf %llu is not the one whose hash stands in the tree", u(i));
    }
    if (is_finding(look->leaf) && look->leaf == ERR_CORRUPT && scan_is_structure(txn, TABLE_LEAF, at))
        scan_damage(found, DAMAGE_STORE, TABLE_LEAF, at, i, false, "the pages of table leaf are damaged at leaf %llu",
                    u(i));
}

/* --- what belongs to a leaf --- */

/* OK with *content, or with a finding. */
static enum err check_attachment(struct scan *s, struct table_txn *txn, struct damage *found, struct bytes *content)
{
    struct scan_work *w = s->work;
    const struct leaf *leaf = &w->leaf;
    struct attachment decoded;
    uint8_t key[8];
    struct bytes at = scan_key(key, leaf->index);
    *content = (struct bytes){0};
    if (leaf->index == 0 || !content_kept(&leaf->operation, leaf->decision)) return OK;
    enum err err = table_get(txn, TABLE_ATTACHMENT, at, &w->attachment);
    s->bytes += w->attachment.size;
    s->rows++;
    bool sealed = err == OK;
    if (err == OK) err = attachment_check(&decoded, buffer_bytes(&w->attachment), &leaf->operation.attachment);
    if (err == OK) *content = decoded.content;
    if (err == ERR_NOT_FOUND) {
        err = table_exists(txn, TABLE_MISSING, at); /* catching up is still to bring it */
        if (err == OK) return OK;
        if (err == ERR_NOT_FOUND && !passed(s, DAMAGE_ATTACHMENT))
            scan_damage(found, DAMAGE_ATTACHMENT, TABLE_ATTACHMENT, at, leaf->index, true,
                        "the attachment of leaf %llu is gone", u(leaf->index));
        return err == ERR_NOT_FOUND ? OK : err;
    }
    if ((err == ERR_CORRUPT || err == ERR_ATTACHMENT) && !passed(s, DAMAGE_ATTACHMENT))
        scan_damage(found, DAMAGE_ATTACHMENT, TABLE_ATTACHMENT, at, leaf->index, false,
                    sealed ? "the attachment of leaf %llu is not the one that the leaf names"
                           : "the attachment of leaf %llu: its seal does not open", u(leaf->index));
    return err == ERR_CORRUPT || err == ERR_ATTACHMENT ? OK : err;
}

static void tell_derived(struct damage *found, const struct derived *row, uint64_t index, bool gone)
{
    scan_damage(found, DAMAGE_DERIVED, row->table, bytes_of(row->key, row->key_size), index, gone,
                "table %s: the row that leaf %llu makes %s", scan_table_name((uint8_t)row->table), u(index),
                gone ? "is gone" : "is another one");
}

static enum err check_chart(struct scan *s, struct table_txn *txn, struct damage *found)
{
    uint8_t key[8];
    struct bytes at = scan_key(key, s->work->leaf.index);
    enum err err = table_get(txn, TABLE_OPENED, at, &s->work->value);
    if (err != ERR_NOT_FOUND && err != ERR_CORRUPT) return err;
    if (!passed(s, DAMAGE_STATE))
        scan_damage(found, DAMAGE_STATE, TABLE_OPENED, at, s->work->leaf.index, err == ERR_NOT_FOUND,
                    "table opened: what the read of leaf %llu opens %s", u(s->work->leaf.index),
                    err == ERR_NOT_FOUND ? "is gone" : "has a seal that does not open");
    return OK;
}

/* The rows of what a leaf made and later ones change: that they are there at all. */
static enum err check_made_rows(struct scan *s, struct table_txn *txn, struct damage *found, bool args_good)
{
    const struct scan_work *w = s->work;
    uint8_t version[20];
    bool approved = args_good && w->leaf.decision == DECISION_APPROVED;
    bool record = approved && derive_version_key(version, &w->args);
    bool user = approved && w->args.action == ACTION_USER_CREATE;
    struct bytes key = record ? bytes_of(version, 16) : BYTES(w->args.user_create.user.bytes);
    if (!record && !user) return OK;
    enum table_number table = record ? TABLE_RECORD : TABLE_USER;
    enum err err = table_exists(txn, (uint8_t)table, key);
    if (err == ERR_NOT_FOUND)
        scan_damage(found, DAMAGE_DERIVED, table, key, w->leaf.index, true, "table %s: what leaf %llu made is gone",
                    scan_table_name((uint8_t)table), u(w->leaf.index));
    return err == ERR_NOT_FOUND ? OK : err;
}

/* --- roles --- */

static struct known_role *role_slot(struct scan_work *w, const struct id *user)
{
    return &w->roles[get_be16(user->bytes) % SCAN_ROLES];
}

/* The role that the leaf's actor had. Not known: too long ago, or what tells it is damaged. */
static enum err find_role(struct scan *s, struct table_txn *txn, struct derivation *d)
{
    struct known_role *known = role_slot(s->work, &d->actor);
    if (d->role_known) return OK; /* a node */
    if (!known->used || !id_equal(&known->user, &d->actor)) {
        enum err err = derive_role(known->role, txn, s->genesis, &d->actor, d->index);
        s->bytes += 256;
        known->used = err == OK;
        known->user = d->actor;
        if (err != OK) return err == ERR_NOT_FOUND || err == ERR_CORRUPT || err == ERR_TOO_LARGE ? OK : err;
    }
    memcpy(d->role, known->role, sizeof d->role);
    d->role_known = true;
    return OK;
}

/* A leaf that gives somebody a role: what was known of them is over. */
static void forget_role(struct scan_work *w)
{
    const struct id *user = NULL;
    if (w->leaf.index == 0) return;
    if (arguments_decode(&w->args, w->leaf.operation.action, w->leaf.operation.args) != OK) return;
    if (w->args.action == ACTION_USER_CREATE) user = &w->args.user_create.user;
    if (w->args.action == ACTION_ROLE_ASSIGN) user = &w->args.role_assign.user;
    if (user) role_slot(w, user)->used = false;
}

static enum err check_derived(struct scan *s, struct table_txn *txn, struct damage *found, struct bytes content,
                              uint64_t now_ms)
{
    struct scan_work *w = s->work;
    struct derivation *d = &w->derivation;
    bool args_good = w->leaf.index > 0 &&
                     arguments_decode(&w->args, w->leaf.operation.action, w->leaf.operation.args) == OK;
    enum err err = derive_leaf(d, txn, &w->leaf, &w->args, args_good, content, now_ms, s->genesis->policy);
    if (err == OK) err = find_role(s, txn, d);
    for (unsigned i = 0; i < d->count && err == OK; i++) {
        enum err state = derived_check(&d->rows[i], d, txn, &w->value);
        s->bytes += 64 + w->value.size;
        s->rows++;
        if (!is_finding(state)) return state;
        if (state == OK || passed(s, DAMAGE_DERIVED)) continue;
        tell_derived(found, &d->rows[i], w->leaf.index, state == ERR_NOT_FOUND);
        return OK;
    }
    if (err == OK && d->opens_chart) err = check_chart(s, txn, found);
    if (err != OK || found->kind != DAMAGE_NONE || passed(s, DAMAGE_DERIVED)) return err;
    return check_made_rows(s, txn, found, args_good);
}

/* --- the phase of the leaves --- */

static enum err check_leaf(struct scan *s, struct table_txn *txn, struct damage *found, const struct meta *meta)
{
    struct leaf_look look;
    struct bytes content = {0};
    enum err err = look_at_leaf(s, txn, &look);
    if (err != OK) return err;
    if ((!look.decodes || !look.row_fits) && !passed(s, DAMAGE_LEAF)) {
        tell_leaf(s, txn, found, &look, meta);
        return OK;
    }
    if (!look.decodes || !look.row_fits) err = settle_hash(s, txn, &look, meta);
    if (err == OK && look.decodes) err = check_attachment(s, txn, found, &content);
    if (err == OK && look.decodes && found->kind == DAMAGE_NONE)
        err = check_derived(s, txn, found, content, meta->time_ms);
    if (err != OK || found->kind != DAMAGE_NONE) return err;
    s->tree = look.after;
    s->last = look.hash;
    if (look.decodes) s->time_ms = s->work->leaf.time_ms;
    if (look.decodes) forget_role(s->work);
    s->passed = 0;
    return OK;
}

/* After the last leaf of this pass: the chain leads to what stands now. */
static enum err end_leaves(struct scan *s, struct table_txn *txn, struct damage *found, const struct meta *meta)
{
    struct digest next;
    enum err err = s->end == meta->size ? OK : hash_by_next(s, txn, &next, s->end - 1, meta);
    if (s->end == meta->size) next = meta->last;
    if (err == OK && !digest_equal(&next, &s->last) && !passed(s, DAMAGE_STATE)) {
        scan_damage(found, DAMAGE_STATE, TABLE_META, bytes_text("state"), s->end - 1, false,
                    "the chain does not lead from leaf %llu to what the state names as the last one", u(s->end - 1));
        return OK;
    }
    if (!is_finding(err)) return err;
    s->phase = SCAN_ROWS;
    s->passed = 0;
    s->table = 0;
    s->key_size = 0;
    return OK;
}

static enum err leaves_step(struct scan *s, struct table_txn *txn, uint64_t until, const struct meta *meta,
                            struct damage *found)
{
    enum err err = OK;
    do {
        if (s->tree.size == s->end) return end_leaves(s, txn, found, meta);
        err = check_leaf(s, txn, found, meta);
    } while (err == OK && found->kind == DAMAGE_NONE && !scan_enough(s, until));
    return err;
}

/* --- steps --- */

/* The size that this transaction sees. A finding: the state's row is damaged. */
static enum err open_state(struct scan *s, struct table_txn *txn, struct meta *meta, struct damage *found)
{
    enum err err = state_meta_get(meta, txn);
    if (err == ERR_NOT_FOUND && table_count(txn, TABLE_LEAF) == 0) { /* a fresh store */
        s->phase = SCAN_DONE;
        return OK;
    }
    if (err == ERR_NOT_FOUND || err == ERR_CORRUPT) {
        struct bytes key = bytes_text("state");
        bool pages = err == ERR_CORRUPT && scan_is_structure(txn, TABLE_META, key);
        scan_damage(found, pages ? DAMAGE_STORE : DAMAGE_STATE, TABLE_META, key, 0, err == ERR_NOT_FOUND,
                    pages ? "the store's pages are damaged"
                          : "table state: the row that says how many leaves there are");
        return OK;
    }
    if (err == OK && s->end > meta->size) { /* kept beside another state */
        scan_begin(s, s->genesis);
        s->end = meta->size;
    }
    if (err == OK && s->end == 0) s->end = meta->size;
    return err;
}

#define ROWS_BY_CLOCK 8u /* which is a system call */

bool scan_enough(struct scan *s, uint64_t until)
{
    if (s->most_ns && ++s->looks % ROWS_BY_CLOCK == 0 && clock_thread_ns() - s->begun_ns >= s->most_ns) s->late = true;
    return s->late || s->bytes >= until;
}

enum err scan_step(struct scan *s, struct table_txn *txn, uint64_t bytes, struct damage *found)
{
    struct meta meta;
    s->begun_ns = s->most_ns ? clock_thread_ns() : 0;
    s->late = false;
    *found = (struct damage){.kind = DAMAGE_NONE};
    if (s->phase == SCAN_DONE) return OK;
    enum err err = open_state(s, txn, &meta, found);
    uint64_t until = s->bytes + bytes;
    if (err != OK || found->kind != DAMAGE_NONE || s->phase == SCAN_DONE) return err;
    if (s->phase == SCAN_LEAVES) err = leaves_step(s, txn, until, &meta, found);
    if (err == OK && found->kind == DAMAGE_NONE && s->phase == SCAN_ROWS && !scan_enough(s, until))
        err = scan_rows_step(s, txn, until, &meta, found);
    return err;
}

void scan_pass_over(struct scan *s, const struct damage *found) { s->passed |= 1u << found->kind; }
