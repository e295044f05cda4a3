#include "rf_test.h"

#include <math.h>
#include <string.h>

#include "refract/data/answers.h"

static void assert_close(double value, double expected, double tolerance)
{
    assert_true(fabs(value - expected) <= tolerance);
}

static rf_bytes bytes(const char *text)
{
    return (rf_bytes){text, strlen(text)};
}

static void assert_stretch(rf_bytes found, const char *expected)
{
    if (!expected) {
        assert_null(found.at);
        return;
    }
    assert_non_null(found.at);
    assert_int_equal(found.length, strlen(expected));
    assert_memory_equal(found.at, expected, found.length);
}

static void marked__is_the_first_number_behind_the_mark(void **state)
{
    (void)state;
    assert_stretch(rf_answer_marked(bytes("so 3 + 4 = 7\n#### 7")), "7");
    assert_stretch(rf_answer_marked(bytes("#### 1,234")), "1,234");
    assert_stretch(rf_answer_marked(bytes("#### -12.50 dollars")), "-12.50");
    assert_stretch(rf_answer_marked(bytes("#### none\n#### 5\n#### 6")), "5");
    assert_stretch(rf_answer_marked(bytes("##### 8")), "8");
    assert_stretch(rf_answer_marked(bytes("#### $5")), NULL);
    assert_stretch(rf_answer_marked(bytes("####7")), NULL);
    assert_stretch(rf_answer_marked(bytes("#### -")), NULL);
    assert_stretch(rf_answer_marked(bytes("#### ")), NULL);
    assert_stretch(rf_answer_marked(bytes("")), NULL);
}

static void last__is_the_last_number_however_it_is_written(void **state)
{
    (void)state;
    assert_stretch(rf_answer_last(bytes("he has 12, then 3 apples")), "3");
    assert_stretch(rf_answer_last(bytes("pays $1,234.50 in all")), "$1,234.50");
    assert_stretch(rf_answer_last(bytes("It is 18.")), "18.");
    assert_stretch(rf_answer_last(bytes("from 4 to -3")), "-3");
    assert_stretch(rf_answer_last(bytes("7 - a")), "7");
    assert_stretch(rf_answer_last(bytes("a half is 1/2")), "2");
    assert_stretch(rf_answer_last(bytes("no number. none, at $ all")), NULL);
    assert_stretch(rf_answer_last(bytes("9 ...")), "...");
}

static void same__passes_over_commas_dollars_and_the_last_stop(void **state)
{
    (void)state;
    assert_true(rf_answer_same(bytes("1234"), bytes("$1,234.")));
    assert_true(rf_answer_same(bytes("1,234"), bytes("1234")));
    assert_true(rf_answer_same(bytes("-5"), bytes("-5")));
    assert_false(rf_answer_same(bytes("5"), bytes("-5")));
    assert_false(rf_answer_same(bytes("18"), bytes("18.0")));
    assert_false(rf_answer_same(bytes("18"), bytes("180")));
    assert_false(rf_answer_same(bytes("180"), bytes("18")));
    assert_false(rf_answer_same(bytes("18"), (rf_bytes){NULL, 0}));
}

static void assert_number(const char *text, double expected)
{
    double value = 0;
    assert_true(rf_answer_number(bytes(text), &value));
    assert_close(value, expected, 0);
}

static void number__is_the_last_of_the_text_without_commas(void **state)
{
    double value = 7;
    (void)state;
    assert_number("so 3 and 1,234.50 dollars", 1234.5);
    assert_number("x = -4", -4);
    assert_number("the answer is 18.", 18);
    assert_number("1.2.3", 3);
    assert_number("3/4", 4);
    assert_number("10-3", -3);
    assert_number("-,5", -5);
    assert_number("1,2 and 3,", 3);
    assert_number("1.,5", 1.5);
    assert_false(rf_answer_number(bytes("none - at . all,"), &value));
    assert_false(rf_answer_number(bytes(""), &value));
    assert_close(value, 7, 0);
}

static void near__is_within_a_thousandth(void **state)
{
    (void)state;
    assert_true(rf_answer_near(2.5, 2.5009));
    assert_true(rf_answer_near(2.5, 2.4991));
    assert_false(rf_answer_near(2.5, 2.5011));
    assert_false(rf_answer_near(5, -5));
}

static void letter__is_the_first_capital_from_a_to_e(void **state)
{
    (void)state;
    assert_int_equal(rf_answer_letter(bytes("the answer is (C)")), 'C');
    assert_int_equal(rf_answer_letter(bytes("Choose B or D")), 'C');
    assert_int_equal(rf_answer_letter(bytes("option F, then E")), 'E');
    assert_int_equal(rf_answer_letter(bytes("abcde FGH")), 0);
}

static void choice__is_the_first_of_the_answers_kind(void **state)
{
    (void)state;
    assert_stretch(rf_answer_choice(bytes("the correct answer is true, not false"), bytes("false")),
                   "true");
    assert_stretch(rf_answer_choice(bytes("true: solution2"), bytes("solution1")), "solution2");
    assert_stretch(rf_answer_choice(bytes("answer6 answer5"), bytes("answer1")), "answer5");
    assert_stretch(rf_answer_choice(bytes("ending4"), bytes("ending1")), "ending4");
    assert_stretch(rf_answer_choice(bytes("option1"), bytes("option2")), "option1");
    assert_stretch(rf_answer_choice(bytes("True"), bytes("true")), NULL);
    assert_stretch(rf_answer_choice(bytes("option"), bytes("option1")), NULL);
    assert_stretch(rf_answer_choice(bytes("true"), bytes("maybe")), NULL);
}

/* 0 of n ends at z^2 / (n + z^2); figures computed apart from the program. */
static void wilson__equals_known_values(void **state)
{
    (void)state;
    assert_close(rf_wilson(0, 10).low, 0, 0);
    assert_close(rf_wilson(0, 10).high, 0.2775327998628892, 1e-12);
    assert_close(rf_wilson(10, 10).low, 0.7224672001371107, 1e-12);
    assert_close(rf_wilson(10, 10).high, 1, 0);
    assert_close(rf_wilson(50, 100).low, 0.4038315303659956, 1e-12);
    assert_close(rf_wilson(50, 100).high, 0.5961684696340044, 1e-12);
    assert_close(rf_wilson(0, 0).low, 0, 0);
    assert_close(rf_wilson(0, 0).high, 1, 0);
}

static const struct CMUnitTest answers[] = {
    cmocka_unit_test(marked__is_the_first_number_behind_the_mark),
    cmocka_unit_test(last__is_the_last_number_however_it_is_written),
    cmocka_unit_test(same__passes_over_commas_dollars_and_the_last_stop),
    cmocka_unit_test(number__is_the_last_of_the_text_without_commas),
    cmocka_unit_test(near__is_within_a_thousandth),
    cmocka_unit_test(letter__is_the_first_capital_from_a_to_e),
    cmocka_unit_test(choice__is_the_first_of_the_answers_kind),
    cmocka_unit_test(wilson__equals_known_values),
};
RF_TEST_MAIN(answers)
