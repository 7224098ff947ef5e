/* Rows of user.search and team.list. */
#include <stdlib.h>
#include <string.h>

#include "ledger/rules.h"

/* Nothing but the particulars of a person: what else was put there could be large. */
static enum err pack_person(struct answer *answer, struct table_txn *txn, uint64_t index)
{
    uint8_t key[8];
    struct buffer value = {0};
    struct attachment attachment;
    struct person person;
    put_be64(key, index);
    enum err err = table_get(txn, TABLE_ATTACHMENT, BYTES(key), &value);
    if (err == OK) err = attachment_decode(&attachment, buffer_bytes(&value));
    bool good = err == OK && person_decode(&person, attachment.content) == OK;
    answer_spend(answer, value.size / COST_BYTES);
    pack_bytes(&answer->rows, good ? attachment.content : (struct bytes){NULL, 0});
    buffer_free(&value);
    return err == ERR_NOT_FOUND ? OK : err;
}

static void row_of_user(struct step *step, struct answer *answer, const struct id *id, const struct user *user)
{
    struct buffer *rows = &answer->rows;
    uint32_t valid = 0;
    for (uint32_t i = 0; i < user->key_count; i++) valid += !user->keys[i].revoked;
    pack_array(rows, 7);
    pack_id(rows, id);
    pack_text(rows, user->hospital);
    pack_text(rows, user->role);
    pack_uint(rows, user->disabled);
    pack_array(rows, valid);
    for (uint32_t i = 0; i < user->key_count; i++) {
        struct key_id key = key_id_of(&user->keys[i].key);
        if (!user->keys[i].revoked) pack_bin(rows, key.bytes, sizeof key.bytes);
    }
    pack_uint(rows, user->created);
    enum err err = pack_person(answer, step->txn, user->person_index);
    if (err != OK) step_failed(step, err);
    answer->count++;
}

/* A search over all users: cursor = created index of the next one to examine. */
struct search {
    struct step *step;
    struct answer *answer;
    char *text; /* folded, or NULL */
};

static bool reaches(struct step *step, const struct id *id, const struct user *user)
{
    return step_permit(step, ACTION_USER_SEARCH, id, user, CONF_NORMAL) == REASON_NONE;
}

static bool fits(const struct args_user_search *args, const struct user *user)
{
    if (args->role.size && !bytes_equal(args->role, bytes_text(user->role))) return false;
    return !args->hospital.size || bytes_equal(args->hospital, bytes_text(user->hospital));
}

static void examine(struct search *search, const struct name_entry *entry)
{
    struct step *step = search->step;
    struct user user;
    answer_spend(search->answer, 1);
    if (search->text && !names_match(entry, search->text)) return;
    answer_spend(search->answer, COST_ROW);
    enum err err = ledger_user_get(&user, step->ledger, step->txn, &entry->id);
    if (err != OK) {
        step_failed(step, err);
        return;
    }
    if (user_is_hidden(&user) && !id_equal(&entry->id, &step->op->actor.id)) return;
    if (fits(&step->args.user_search, &user) && reaches(step, &entry->id, &user))
        row_of_user(step, search->answer, &entry->id, &user);
}

static void search_all(struct search *search)
{
    struct step *step = search->step;
    const struct args_user_search *args = &step->args.user_search;
    const struct names *names = &step->ledger->names;
    for (size_t i = names_seek(names, cursor_position(args->cursor, 0)); i < names->count && step->err == OK; i++) {
        /* First administrators have 0, which no cursor tells apart: they are few, never a page's end. */
        bool may_end = names->items[i].created != 0;
        if (may_end && answer_full(search->answer, args->limit)) {
            answer_cursor(search->answer, names->items[i].created);
            return;
        }
        examine(search, &names->items[i]);
    }
}

void answer_search(struct step *step, struct answer *answer)
{
    const struct args_user_search *args = &step->args.user_search;
    struct attachment attachment = {0};
    static const struct digest none;
    if (!id_is_zero(&args->user) || !digest_equal(&args->login_tag, &none)) {
        if (!id_is_zero(&step->target_id)) row_of_user(step, answer, &step->target_id, &step->target);
        return;
    }
    enum err err = names_load(&step->ledger->names, step->txn);
    if (err == OK && step->attachment.size) err = attachment_decode(&attachment, step->attachment);
    if (err != OK) {
        step_failed(step, err);
        return;
    }
    struct search search = {step, answer, NULL};
    if (attachment.content.size > LIMIT_NAME) return; /* longer than any search may be: nothing fits */
    if (attachment.content.size) {
        search.text = names_fold(attachment.content);
        if (!search.text) return; /* not text: nothing fits */
    }
    search_all(&search);
    free(search.text);
}

static enum err row_of_member(struct step *step, struct answer *answer, struct table_cursor *c, struct buffer *value)
{
    struct bytes key = table_cursor_key(c);
    struct id id;
    struct user user;
    enum err err = table_cursor_value(c, value);
    if (err == OK && value->size != 16) err = ERR_CORRUPT;
    if (err != OK) return err;
    memcpy(id.bytes, key.data + 16, sizeof id.bytes);
    err = ledger_user_get(&user, step->ledger, step->txn, &id);
    if (err != OK) return err;
    pack_array(&answer->rows, 4);
    pack_id(&answer->rows, &id);
    pack_text(&answer->rows, user.role);
    pack_text(&answer->rows, user.hospital);
    pack_uint(&answer->rows, get_be64(value->data));
    answer->count++;
    return OK;
}

/* The action has no cursor: as many as an answer holds. */
void answer_people(struct step *step, struct answer *answer)
{
    const struct id *patient = &step->args.team_list.patient;
    struct buffer value = {0};
    struct table_cursor *c;
    enum err err = table_cursor_open(&c, step->txn, TABLE_TEAM);
    if (err != OK) {
        step_failed(step, err);
        return;
    }
    for (err = table_cursor_seek(c, BYTES(patient->bytes)); err == OK; err = table_cursor_next(c)) {
        struct bytes key = table_cursor_key(c);
        if (key.size != 32 || memcmp(key.data, patient->bytes, 16) != 0) break;
        if (answer_full(answer, UINT32_MAX)) break;
        answer_spend(answer, COST_ROW);
        err = row_of_member(step, answer, c, &value);
        if (err != OK) break;
    }
    table_cursor_close(c);
    buffer_free(&value);
    if (err != OK && err != ERR_NOT_FOUND) step_failed(step, err);
}
