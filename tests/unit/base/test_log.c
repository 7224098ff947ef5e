#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <jansson.h>

#include "base/check.h"
#include "base/log.h"
#include "tests/lib/dies.h"
#include "tests/lib/unit.h"

static char captured[256 * 1024];

/* What `act` writes to standard error. */
static const char *capture(void (*act)(void))
{
    FILE *file = tmpfile();
    int saved = dup(STDERR_FILENO);
    CHECK(file && saved >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    act();
    CHECK(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    rewind(file);
    captured[fread(captured, 1, sizeof captured - 1, file)] = '\0';
    fclose(file);
    return captured;
}

static void say(void)
{
    log_debug("part", "hidden");
    log_info("part", "number %d", 5);
    log_error("part", "two\nlines\tand \x1b[31m colour");
}

static void test_text(void **state)
{
    (void)state;
    log_setup(LOG_INFO, false);
    const char *text = capture(say);
    assert_null(strstr(text, "hidden"));
    assert_non_null(strstr(text, "Z info    part     number 5\n"));
    assert_non_null(strstr(text, "Z error   part     two lines and  [31m colour\n")); /* nobody forges a line */
}

static void say_json(void) { log_notice("part", "quote \" back \\ line\n bell \a end"); }

static void test_json(void **state)
{
    (void)state;
    log_setup(LOG_INFO, true);
    const char *text = capture(say_json);
    json_t *object = json_loads(text, 0, NULL);
    assert_non_null(object);
    assert_string_equal(json_string_value(json_object_get(object, "text")), "quote \" back \\ line\n bell \a end");
    assert_string_equal(json_string_value(json_object_get(object, "level")), "notice");
    assert_string_equal(json_string_value(json_object_get(object, "part")), "part");
    assert_int_equal(strlen(json_string_value(json_object_get(object, "time"))), 24);
    json_decref(object);
    log_setup(LOG_INFO, false);
}

static void say_long(void)
{
    static char text[3000];
    memset(text, 'x', sizeof text - 1);
    log_info("part", "%s", text);
    memset(text, '\a', sizeof text - 1);
    log_info("part", "%s", text);
}

/* A message of any length stays one whole line, valid in JSON too. */
static void test_long_line(void **state)
{
    (void)state;
    for (int json = 0; json < 2; json++) {
        log_setup(LOG_INFO, json);
        const char *text = capture(say_long);
        const char *end = strchr(text, '\n');
        assert_non_null(end);
        assert_non_null(strchr(end + 1, '\n'));
        assert_string_equal(strchr(end + 1, '\n'), "\n");
        if (!json) continue;
        json_t *object = json_loadb(text, (size_t)(end - text), 0, NULL);
        assert_non_null(object);
        json_decref(object);
        object = json_loads(end + 1, 0, NULL);
        assert_non_null(object);
        json_decref(object);
    }
    log_setup(LOG_INFO, false);
}

static void say_bytes(void)
{
    log_info("part", "not utf-8: \x80\xff\xc3 \xed\xa0\x80 but \xc3\xa9\xf0\x9f\x98\x80 end\xe2\x82");
}

/* Bytes that are not UTF-8 must not make a line that is not JSON. */
static void test_json_is_utf8(void **state)
{
    (void)state;
    log_setup(LOG_INFO, true);
    const char *text = capture(say_bytes);
    json_t *object = json_loads(text, 0, NULL);
    log_setup(LOG_INFO, false);
    assert_non_null(object);
    assert_string_equal(json_string_value(json_object_get(object, "text")),
                        "not utf-8: ??? ??? but \xc3\xa9\xf0\x9f\x98\x80 end??");
    json_decref(object);
}

static void dump(void) { log_dump(); }
static void fill(void)
{
    for (int i = 0; i < 1000; i++)
        log_debug("part", "entry %d.", i);
}

/* The flight recorder keeps the newest, the hidden levels too, oldest first. */
static void test_dump(void **state)
{
    (void)state;
    fill();
    const char *text = capture(dump);
    const char *old = strstr(text, "entry 744."), *new = strstr(text, "entry 999.");
    assert_null(strstr(text, "entry 743."));
    assert_non_null(old);
    assert_true(new > old);
}

static void *shout(void *name)
{
    for (int i = 0; i < 200; i++)
        log_info(name, "line of one thread %s", (const char *)name);
    return NULL;
}
static void shout_together(void)
{
    pthread_t threads[4];
    static char names[4][8] = {"alpha", "beta", "gamma", "delta"};
    for (size_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, shout, names[i]) == 0);
    for (size_t i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}
static void test_threads(void **state)
{
    (void)state;
    char *text = strdup(capture(shout_together)), *save = NULL;
    size_t lines = 0;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char part[16], name[16];
        assert_int_equal(sscanf(line, "%*s info %15s line of one thread %15s", part, name), 2);
        assert_string_equal(part, name);
        lines++;
    }
    assert_int_equal(lines, 800);
    free(text);
}

/* A failed assertion runs its callback first, once, even when that fails too. */
static void failed_check(void) { CHECK(1 + 1 == 3); }
static void leave(void) { _exit(0); }
static void failed_check_with_callback(void)
{
    check_on_failure(leave);
    failed_check();
}
static void failed_callback(void)
{
    check_on_failure(failed_check);
    failed_check();
}
static void test_check(void **state)
{
    (void)state;
    assert_true(dies(failed_check));
    assert_false(dies(failed_check_with_callback));
    assert_true(dies(failed_callback));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),      cmocka_unit_test(test_json), cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_json_is_utf8), cmocka_unit_test(test_dump), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
