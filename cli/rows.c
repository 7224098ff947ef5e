#include "cli/rows.h"

#include <string.h>

#include "base/check.h"
#include "cli/output.h"
#include "ledger/policy.h"

enum err answer_open(struct answer *out, struct bytes answer, uint32_t most)
{
    struct unpack u = unpack_start(answer), rows;
    unpack_array_of(&u, 3);
    struct bytes raw = unpack_raw(&u);
    out->cursor = unpack_bin(&u, LIMIT_NOTE);
    out->left_out = unpack_uint(&u);
    rows = unpack_start(raw);
    out->count = u.error == OK ? unpack_array(&rows, most) : 0;
    out->rows = rows;
    enum err e = unpack_done(&u);
    return e == OK ? rows.error : e;
}

bool answer_goes_on(const struct answer *a, struct bytes cursor, uint64_t entry)
{
    if (a->cursor.size == 0) return true;
    uint64_t from = cursor.size == 8 ? get_be64(cursor.data) : 0;
    return a->cursor.size == 8 && get_be64(a->cursor.data) > from && get_be64(a->cursor.data) < entry;
}

/* --- reading --- */

static enum confidentiality unpack_conf(struct unpack *u) { return (enum confidentiality)unpack_uint_max(u, CONF_MAX); }

/* An id or digest that may be the empty bin, which is then zero. */
static void unpack_optional(struct unpack *u, void *out, size_t size)
{
    struct bytes v = unpack_bin(u, size);
    memset(out, 0, size);
    if (v.size == size)
        memcpy(out, v.data, size);
    else if (v.size != 0)
        unpack_fail(u, ERR_MALFORMED);
}

void user_row_read(struct user_row *out, struct unpack *u)
{
    *out = (struct user_row){0};
    unpack_array_of(u, 7);
    out->user = unpack_id(u);
    out->hospital = unpack_str(u, LIMIT_NAME);
    out->role = unpack_str(u, POLICY_ROLE_NAME);
    out->disabled = unpack_uint_max(u, 1);
    out->key_count = unpack_array(u, LIMIT_KEYS_PER_USER);
    for (uint32_t i = 0; i < out->key_count && u->error == OK; i++)
        unpack_bin_exact(u, out->keys[i].bytes, sizeof out->keys[i].bytes);
    out->index = unpack_uint(u);
    struct bytes person = unpack_bin(u, LIMIT_ATTACHMENT);
    out->has_person = u->error == OK && person.size > 0;
    enum err e = out->has_person ? person_decode(&out->person, person) : OK;
    if (e != OK) unpack_fail(u, e);
}

void team_row_read(struct team_row_view *out, struct unpack *u)
{
    unpack_array_of(u, 4);
    out->user = unpack_id(u);
    out->role = unpack_str(u, POLICY_ROLE_NAME);
    out->hospital = unpack_str(u, LIMIT_NAME);
    out->since_ms = unpack_uint(u);
}

void record_row_read(struct record_row *out, struct unpack *u)
{
    unpack_array_of(u, 9);
    out->record = unpack_id(u);
    out->version = unpack_uint(u);
    out->patient = unpack_id(u);
    out->kind = unpack_str(u, LIMIT_NAME);
    out->conf = unpack_conf(u);
    out->author = unpack_id(u);
    out->time_ms = unpack_uint(u);
    out->index = unpack_uint(u);
    out->content_size = unpack_uint(u);
}

void history_row_read(struct history_row *out, struct unpack *u)
{
    unpack_array_of(u, 7);
    out->version = unpack_uint(u);
    out->author = unpack_id(u);
    out->time_ms = unpack_uint(u);
    out->conf = unpack_conf(u);
    out->index = unpack_uint(u);
    out->deleted = unpack_bool(u);
    unpack_optional(u, out->content_tag.bytes, sizeof out->content_tag.bytes);
}

void list_row_read(struct list_row *out, struct unpack *u)
{
    unpack_array_of(u, 8);
    out->record = unpack_id(u);
    out->kind = unpack_str(u, LIMIT_NAME);
    out->conf = unpack_conf(u);
    out->version = unpack_uint(u);
    out->author = unpack_id(u);
    out->time_ms = unpack_uint(u);
    out->deleted = unpack_bool(u);
    unpack_optional(u, out->content_tag.bytes, sizeof out->content_tag.bytes);
}

/* The object is text, or an id as bin. The type byte of a str is 0xa0..0xbf or 0xd9..0xdb. */
static void unpack_object(struct log_row *out, struct unpack *u)
{
    uint8_t type = u->at < u->end ? *u->at : 0;
    out->object_is_text = (type & 0xe0) == 0xa0 || (type >= 0xd9 && type <= 0xdb);
    out->object = out->object_is_text ? unpack_str(u, LIMIT_NOTE) : unpack_bin(u, sizeof(struct id));
    if (!out->object_is_text && out->object.size != 0 && out->object.size != sizeof(struct id))
        unpack_fail(u, ERR_MALFORMED);
}

void log_row_read(struct log_row *out, struct unpack *u)
{
    struct attachment note = {.content = bytes_text("")};
    out->raw.data = u->at;
    unpack_array_of(u, 11);
    out->index = unpack_uint(u);
    out->time_ms = unpack_uint(u);
    out->actor_kind = (enum actor_kind)unpack_uint_max(u, ACTOR_NODE);
    unpack_optional(u, out->actor.bytes, sizeof out->actor.bytes); /* leaf 0 has none */
    out->actor_role = unpack_str(u, POLICY_ROLE_NAME);
    unpack_optional(u, out->subject.bytes, sizeof out->subject.bytes);
    out->action = (uint32_t)unpack_uint_max(u, UINT32_MAX);
    unpack_object(out, u);
    out->decision = (uint32_t)unpack_uint_max(u, DECISION_DENIED);
    out->reason = (uint32_t)unpack_uint_max(u, 0xffff);
    out->attachment = unpack_bin(u, LIMIT_NOTE + ATTACHMENT_OVERHEAD);
    if (out->attachment.size > 0 && (attachment_decode(&note, out->attachment) != OK || note_check(note.content) != OK))
        unpack_fail(u, ERR_MALFORMED);
    out->note = note.content;
    out->raw.size = (size_t)(u->at - out->raw.data);
}

/* --- as JSON --- */

static json_t *object_of(json_t *made)
{
    CHECK(made != NULL);
    return made;
}

static json_t *json_conf(enum confidentiality conf)
{
    char letter[2] = {confidentiality_letter(conf), '\0'};
    return json_string(letter);
}

static json_t *json_tag(const struct digest *tag)
{
    static const struct digest zero;
    return digest_equal(tag, &zero) ? json_null() : json_digest(tag);
}

json_t *user_row_json(const struct user_row *row)
{
    json_t *keys = json_array();
    for (uint32_t i = 0; i < row->key_count; i++) {
        char text[2 * sizeof row->keys[i].bytes + 1];
        hex_format(text, row->keys[i].bytes, sizeof row->keys[i].bytes);
        json_array_append_new(keys, json_string(text));
    }
    json_t *o = object_of(json_pack("{s:o, s:o, s:o, s:s, s:o, s:I}", "id", json_id(&row->user), "hospital",
                                    json_text(row->hospital), "role", json_text(row->role), "status",
                                    row->disabled ? "disabled" : "active", "keys", keys, "index",
                                    (json_int_t)row->index));
    if (!row->has_person) return o;
    const struct person *p = &row->person;
    json_object_set_new(o, "login", json_text(p->login));
    json_object_set_new(o, "name", json_text(p->name));
    json_object_set_new(o, "address", json_text(p->address));
    json_object_set_new(o, "designation", json_text(p->designation));
    json_object_set_new(o, "hospital_number", json_text(p->hospital_number));
    return o;
}

json_t *team_row_json(const struct team_row_view *row)
{
    return object_of(json_pack("{s:o, s:o, s:o, s:o}", "user", json_id(&row->user), "role", json_text(row->role),
                               "hospital", json_text(row->hospital), "since", json_time(row->since_ms)));
}

json_t *record_row_json(const struct record_row *row)
{
    return object_of(json_pack("{s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:I}", "record", json_id(&row->record),
                               "version", (json_int_t)row->version, "patient", json_id(&row->patient), "kind",
                               json_text(row->kind), "confidentiality", json_conf(row->conf), "author",
                               json_id(&row->author), "time", json_time(row->time_ms), "index",
                               (json_int_t)row->index, "size", (json_int_t)row->content_size));
}

json_t *history_row_json(const struct history_row *row)
{
    return object_of(json_pack("{s:I, s:o, s:o, s:o, s:I, s:b, s:o}", "version", (json_int_t)row->version, "author",
                               json_id(&row->author), "time", json_time(row->time_ms), "confidentiality",
                               json_conf(row->conf), "index", (json_int_t)row->index, "deleted", row->deleted,
                               "content_tag", json_tag(&row->content_tag)));
}

json_t *list_row_json(const struct list_row *row)
{
    return object_of(json_pack("{s:o, s:o, s:o, s:I, s:o, s:o, s:b, s:o}", "record", json_id(&row->record), "kind",
                               json_text(row->kind), "confidentiality", json_conf(row->conf), "version",
                               (json_int_t)row->version, "author", json_id(&row->author), "time",
                               json_time(row->time_ms), "deleted", row->deleted, "content_tag",
                               json_tag(&row->content_tag)));
}

static json_t *json_object_column(const struct log_row *row)
{
    if (row->object_is_text) return json_text(row->object);
    if (row->object.size == 0) return json_string("");
    struct id id;
    memcpy(id.bytes, row->object.data, sizeof id.bytes);
    return json_id(&id);
}

json_t *log_row_json(const struct log_row *row)
{
    const char *decision = row->decision == DECISION_APPROVED ? "approved" : "denied";
    return object_of(
        json_pack("{s:I, s:o, s:s, s:o, s:o, s:o, s:s, s:i, s:o, s:s, s:s, s:i, s:o}", "index", (json_int_t)row->index,
                  "time", json_time(row->time_ms), "actor_kind", row->actor_kind == ACTOR_NODE ? "node" : "user",
                  "actor", json_id(&row->actor), "role_said", json_text(row->actor_role), "patient",
                  json_id(&row->subject), "action", action_name((enum action)row->action), "action_number",
                  (int)row->action, "object", json_object_column(row), "decision", decision, "reason",
                  reason_text((enum reason)row->reason), "reason_number", (int)row->reason, "note",
                  json_text(row->note)));
}
