#include "base/queue.h"

#include "tests/lib/unit.h"

struct thing {
    unsigned number;
    struct queue_link link;
};

static struct thing things[8];

static void add(struct queue *q, unsigned number)
{
    things[number].number = number;
    queue_add(q, &things[number].link);
}

/* Takes all that is in there: these, and no others. */
static void takes(struct queue *q, const char *numbers)
{
    for (; *numbers; numbers++) {
        struct thing *t = queue_pop(q, struct thing, link);
        assert_non_null(t);
        assert_int_equal(t->number, *numbers - '0');
    }
    assert_null(q->first);
    assert_null(queue_pop(q, struct thing, link));
}

static void in_order(void **state)
{
    (void)state;
    struct queue q = {0};
    takes(&q, "");
    for (unsigned round = 0; round < 2; round++) { /* also one that is empty again */
        add(&q, 3);
        takes(&q, "3");
        add(&q, 1);
        add(&q, 2);
        assert_ptr_equal(container(q.first, struct thing, link), &things[1]);
        assert_ptr_equal(queue_pop(&q, struct thing, link), &things[1]);
        add(&q, 1); /* behind the other one now */
        takes(&q, "21");
    }
}

static void moved_behind_others(void **state)
{
    (void)state;
    struct queue to = {0}, from = {0};
    queue_move(&to, &from);
    takes(&to, "");
    add(&from, 1);
    add(&from, 2);
    queue_move(&to, &from); /* to an empty one */
    takes(&from, "");
    queue_move(&to, &from); /* nothing */
    add(&from, 3);
    queue_move(&to, &from);
    add(&to, 4);
    takes(&from, "");
    takes(&to, "1234");
}

static void out_of_the_middle(void **state)
{
    (void)state;
    static const char *const left[] = {"12", "02", "01"};
    for (unsigned gone = 0; gone < 3; gone++) {
        char with_next[4] = {left[gone][0], left[gone][1], '7'};
        struct queue q = {0};
        for (unsigned i = 0; i < 3; i++) add(&q, i);
        queue_remove(&q, &things[gone].link);
        add(&q, 7);
        takes(&q, with_next);
        add(&q, 5); /* the only one */
        queue_remove(&q, &things[5].link);
        add(&q, 6);
        takes(&q, "6");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order),
        cmocka_unit_test(moved_behind_others),
        cmocka_unit_test(out_of_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
