#include "rf_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refract/data/templates.h"

#define I16 "                "
#define BYTES(text)                                                                                \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

static const rf_record with_input = {BYTES("Add."), BYTES("1 {output} 2"), BYTES("3")};
static const rf_record without_input = {BYTES("Say hi."), BYTES(""), BYTES("Hi")};

static void expect(const rf_template *template, const rf_record *record, const char *prompt,
                   const char *answer)
{
    rf_text p = {0}, a = {0};
    assert_non_null(template);
    assert_ok(rf_template_render(template, record, &p, &a));
    assert_string_equal(p.bytes, prompt);
    assert_string_equal(a.bytes, answer);
    free(p.bytes);
    free(a.bytes);
}

static void builtin__alpaca_and_metamath__are_byte_exact(void **state)
{
    (void)state;
    static const char *const names[] = {"alpaca", "metamath"};
    for (int i = 0; i < 2; i++) {
        expect(rf_template_find(names[i]), &with_input,
               "Below is an instruction that describes a task, paired with an input that provides "
               "further context. Write a response that appropriately completes the request.\n\n"
               "### Instruction:\nAdd.\n\n### Input:\n1 {output} 2\n\n### Response:",
               "3");
        expect(rf_template_find(names[i]), &without_input,
               "Below is an instruction that describes a task. Write a response that appropriately "
               "completes the request.\n\n### Instruction:\nSay hi.\n\n### Response:",
               "Hi");
    }
}

static void builtin__llm_adapters__keeps_its_blanks(void **state)
{
    (void)state;
    expect(rf_template_find("llm-adapters"), &with_input,
           "Below is an instruction that describes a task, paired with an input that provides "
           "further context. Write a response that appropriately completes the request. \n\n" I16
           "### Instruction:\n" I16 "Add.\n" I16 "\n" I16 "### Input:\n" I16 "1 {output} 2\n" I16
           "\n" I16 "### Response:\n" I16,
           "3");
    expect(rf_template_find("llm-adapters"), &without_input,
           "Below is an instruction that describes a task. Write a response that appropriately "
           "completes the request.  \n\n" I16 "### Instruction:\n" I16 "Say hi.\n" I16 "\n" I16
           "### Response:\n" I16,
           "Hi");
    expect(rf_template_find("llm-adapters-eval"), &without_input,
           "Below is an instruction that describes a task. Write a response that appropriately "
           "completes the request. \n\n" I16 "### Instruction:\n" I16 "Say hi.\n\n" I16
           "### Response:\n" I16,
           "Hi");
}

static void builtin__gsm8k_and_none__lose_no_input(void **state)
{
    (void)state;
    expect(rf_template_find("gsm8k"), &without_input, "Question: Say hi.\nAnswer:", " Hi");
    expect(rf_template_find("gsm8k"), &with_input, "Question: Add.\n1 {output} 2\nAnswer:", " 3");
    expect(rf_template_find("none"), &without_input, "Say hi.", "Hi");
    expect(rf_template_find("none"), &with_input, "Add.\n1 {output} 2", "3");
    assert_null(rf_template_find("nonesuch"));
}

static rf_template parsed(const char *text)
{
    rf_template template;
    assert_ok(rf_template_parse(&template, text, strlen(text), "t.txt"));
    return template;
}

static void file__one_text__puts_the_last_blank_into_the_answer(void **state)
{
    (void)state;
    rf_template template = parsed("{\"q\": {instruction}}\nA: {output}.\n");
    expect(&template, &without_input, "{\"q\": Say hi.}\nA:", " Hi.");
    expect(&template, &with_input, "{\"q\": Add.\n1 {output} 2}\nA:", " 3.");
    rf_template_release(&template);
}

static void file__two_texts__are_chosen_by_the_input(void **state)
{
    (void)state;
    rf_template template =
        parsed("Q {instruction} / {input}\nA{output}\n---\nQ {instruction}\nA{output}\n");
    expect(&template, &with_input, "Q Add. / 1 {output} 2\nA", "3");
    expect(&template, &without_input, "Q Say hi.\nA", "Hi");
    rf_template_release(&template);
}

static void file__read_from_disk__is_the_same(void **state)
{
    (void)state;
    char path[4096];
    rf_template template;
    snprintf(path, sizeof path, "%s/template.txt", rf_test_folder());
    rf_test_write_file(path, "{instruction}>{output}\n", 23);
    assert_ok(rf_template_read(&template, path));
    expect(&template, &without_input, "Say hi.>", "Hi");
    rf_template_release(&template);
    assert_status(rf_template_read(&template, "/nowhere/t.txt"), RF_INPUT);
    assert_message_has("/nowhere/t.txt");
}

static void file__without_its_parts__is_input(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "no {output}"},
        {"{instruction}", "no {output}"},
        {"{output}", "no {instruction}"},
        {"{instruction}{output}{output}", "more than one"},
        {"{output}{instruction}", "behind {output}"},
        {"{instruction}{output}\n---\n{instruction}", "no {output}"},
        {"{instruction}{output}\n---\n{instruction}{output}.", "differ from {output} on"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        rf_template template;
        assert_status(rf_template_parse(&template, bad[i].text, strlen(bad[i].text), "t.txt"),
                      RF_INPUT);
        assert_message_has("t.txt");
        assert_message_has(bad[i].message);
        rf_template_release(&template);
    }
}

static const struct CMUnitTest templates[] = {
    cmocka_unit_test(builtin__alpaca_and_metamath__are_byte_exact),
    cmocka_unit_test(builtin__llm_adapters__keeps_its_blanks),
    cmocka_unit_test(builtin__gsm8k_and_none__lose_no_input),
    cmocka_unit_test(file__one_text__puts_the_last_blank_into_the_answer),
    cmocka_unit_test(file__two_texts__are_chosen_by_the_input),
    cmocka_unit_test(file__read_from_disk__is_the_same),
    cmocka_unit_test(file__without_its_parts__is_input),
};
RF_TEST_MAIN(templates)
