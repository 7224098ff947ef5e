#include "tests/unit/storage/bed_log_damage.h"

#include <dirent.h>
#include <stdlib.h>

#include "base/log.h"
#include "crypto/random.h"
#include "tests/lib/trace.h"

char folder[FOLDER_PATH];

struct log *open_log(void)
{
    struct log_options o = model_options(folder, NULL);
    struct log *log = NULL;
    struct failure failure = {0};
    if (log_open(&log, &o, &failure) != OK) print_message("%s\n", failure.text);
    return log;
}

static int compare_names(const void *a, const void *b) { return strcmp(a, b); }

void load_files(struct sample *s)
{
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    for (struct dirent *e; (e = readdir(directory)) != NULL;)
        if (strstr(e->d_name, ".seg")) {
            assert_true(s->count < SEGMENTS && strlen(e->d_name) < 32);
            strcpy(s->names[s->count++], e->d_name);
        }
    closedir(directory);
    qsort(s->names, s->count, sizeof *s->names, compare_names);
    for (size_t i = 0; i < s->count; i++) {
        s->files[i] = folder_load(folder, s->names[i]);
        uint32_t used = (uint32_t)s->files[i].size;
        while (used > LOG_DATA_START && s->files[i].data[used - 1] == 0) used--;
        s->used[i] = used;
    }
}

void clear_folder(void)
{
    folder_remove(folder);
    folder_make(folder, 1);
}

void put_files(const struct sample *s, int without)
{
    clear_folder();
    for (size_t i = 0; i < s->count; i++)
        if ((int)i != without) folder_store(folder, s->names[i], buffer_bytes(&s->files[i]));
}

struct sample make_sample(uint64_t seed, int steps, size_t largest)
{
    struct sample s = {0};
    clear_folder();
    struct log *log = open_log();
    model_start(&s.model, log, seed);
    s.model.largest = largest;
    for (int i = 0; i < steps; i++) assert_int_equal(model_step(&s.model), OK);
    assert_int_equal(model_sync(&s.model), OK);
    log_close(log);
    s.truth = &s.model.steps[s.model.count - 1];
    load_files(&s);
    return s;
}

struct sample make_long_sample(uint64_t seed)
{
    struct sample s = {0};
    clear_folder();
    struct log *log = open_log();
    model_start(&s.model, log, seed);
    s.model.largest = 3000;
    for (int i = 0; i < 40; i++) {
        assert_int_equal(model_append(&s.model, 5), OK);
        if (i % 3 == 0) assert_int_equal(model_vote(&s.model), OK);
        if (i == 5) assert_int_equal(model_compact(&s.model, 4), OK);
        if (i % 6 == 0) assert_int_equal(model_truncate(&s.model), OK);
        if (i % 7 == 0) assert_int_equal(model_cosign(&s.model), OK);
        if (i % 2 == 0) assert_int_equal(model_sync(&s.model), OK);
    }
    assert_int_equal(model_sync(&s.model), OK);
    log_close(log);
    s.truth = &s.model.steps[s.model.count - 1];
    load_files(&s);
    assert_true(s.count >= 4);
    return s;
}

void free_sample(struct sample *s)
{
    model_free(&s->model);
    for (size_t i = 0; i < s->count; i++) buffer_free(&s->files[i]);
}

static bool hard_right(const struct log_status *st, const struct model_state *t)
{
    return st->term == t->term && st->vote == t->vote && st->cosigned.index == t->cosigned.index &&
           st->cosigned.size == t->cosigned.size && digest_equal(&st->cosigned.root, &t->cosigned.root);
}

bool named_damaged(struct log *log, uint64_t index)
{
    uint64_t first, last;
    return log_damage(log, &first, &last, index) == OK && first <= index && index <= last;
}

bool block_right(struct log *log, const struct sample *s, uint64_t index)
{
    uint64_t term = 0;
    enum err code = log_term(log, &term, index);
    const struct model_block *b = &s->truth->blocks[index - s->truth->base - 1];
    if (code == OK && term != b->term) return false;
    code = model_compare(log, &s->model, s->truth, index);
    return code == OK || (code == ERR_CORRUPT && named_damaged(log, index));
}

const char *wrong(struct log *log, const struct sample *s)
{
    const struct model_state *t = s->truth;
    struct log_status st;
    log_status(log, &st);
    uint64_t last = t->base + t->count;
    if (st.torn && !s->may_cut) return "cut something acknowledged";
    if (st.last > last && !st.tail_damaged) return "more blocks than there were";
    if (st.last < last && !st.tail_damaged) return "fewer blocks than there were, and does not say so";
    if (!hard_right(&st, t) && !st.state_damaged) return "wrong term, vote or mark";
    if (st.first - 1 > t->base) return "compacted too far";
    if (st.first - 1 < t->base && !st.state_damaged) return "not compacted far enough";
    for (uint64_t i = st.first; i <= st.last && i <= last; i++)
        if (i > t->base && !block_right(log, s, i)) return st.tail_damaged ? NULL : "wrong block";
    return NULL;
}

void expect_right(const struct sample *s, const char *what, size_t file, size_t at)
{
    struct log *log = open_log();
    const char *complaint = log ? wrong(log, s) : "does not open";
    if (complaint) {
        print_message("%s: %s, file %zu offset %zu of %u\n", what, complaint, file, at, s->used[file]);
        fail_test();
    }
    log_close(log);
}

int bed_open(void **state)
{
    (void)state;
    folder_make(folder, 1);
    return 0;
}

int bed_close(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

void bed_begin(void)
{
    crypto_init();
    log_setup(LOG_ERROR + 1, false); /* damage is reported thousands of times */
}
