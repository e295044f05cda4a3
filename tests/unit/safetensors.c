#include "rf_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "refract/base/rng.h"
#include "refract/io/safetensors.h"

static const char *in_folder(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", rf_test_folder(), name);
    return path;
}

/* Length, header text, then `data` bytes 0, 1, 2, ... */
static void make_file(const char *name, const char *header, size_t length, size_t data)
{
    unsigned char bytes[8192];
    for (size_t i = 0; i < 8; i++) bytes[i] = (unsigned char)(length >> 8 * i);
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data; i++) bytes[8 + length + i] = (unsigned char)i;
    rf_test_write_file(in_folder(name), bytes, 8 + length + data);
}

#define F32(name, n, begin, end)                                                                   \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":[" #n "],\"data_offsets\":[" #begin "," #end "]}"

typedef struct damage {
    const char *header;
    size_t data;
    const char *message;
} damage;

static const damage damages[] = {
    {"{" F32("a", 1, 0, 4) "," F32("b", 1, 8, 12) "}", 12, "a hole of 4 bytes before tensor 'b'"},
    {"{" F32("a", 1, 4, 8) "}", 8, "a hole of 4 bytes before tensor 'a'"},
    {"{" F32("a", 2, 0, 8) "," F32("b", 1, 4, 8) "}", 8, "tensors 'a' and 'b' overlap"},
    {"{" F32("a", 2, 0, 8) "}", 7, "truncated: tensor 'a' ends 1 bytes behind it"},
    {"{" F32("a", 2, 0, 8) "}", 9, "1 bytes after the last tensor"},
    {"{}", 1, "1 bytes after the last tensor"},
    {"{" F32("a", 2, 0, 4) "}", 4, "tensor 'a' has 4 bytes of data, its shape wants 8"},
    {"{" F32("a", 1, 4, 0) "}", 4, "'a' has offsets that run backwards"},
    {"{" F32("a", 1, -4, 0) "}", 4, "'a' has offsets that run backwards"},
    {"{" F32("a", -1, 0, 4) "}", 4, "'a' has a dimension that is no size"},
    {"{" F32("a", 1.0, 0, 4) "}", 4, "'a' has a dimension that is no size"},
    {"{" F32("a", 1, 0, 4.0) "}", 4, "'a' has no data_offsets"},
    {"{" F32("a", 1, 0, 4) "," F32("a", 1, 4, 8) "}", 8, "duplicate object key"},
    {"{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "unknown dtype 'F33'"},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "'a' has no dtype"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "'a' has no shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "'a' has no data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "no data_offsets"},
    {"{\"a\":[]}", 0, "'a' has no description"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0,
     "'a' has more items than can be counted"},
    {"{\"a\":{\"dtype\":\"F64\",\"shape\":[1152921504606846976],\"data_offsets\":[0,0]}}", 0,
     "'a' has a size that cannot be"},
    {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1, "size that cannot be"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]}}", 4,
     "too big integer"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1,
     "more than 8 dimensions"},
    {"{\"__metadata__\":{\"format\":1}}", 0, "'format' of '__metadata__' is not a string"},
    {"{\"__metadata__\":[]}", 0, "'__metadata__' is not an object"},
    {" {}", 0, "does not begin with '{'"},
    {"[]", 0, "does not begin with '{'"},
    {"", 0, "does not begin with '{'"},
    {"{\"a\":", 0, "is not JSON"},
    {"{} {}", 0, "is not JSON"},
    {"{\"\xff\":1}", 0, "is not JSON"},
};

static void open__damaged_header__is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        rf_safetensors *st = NULL;
        make_file("bad.safetensors", damages[i].header, strlen(damages[i].header), damages[i].data);
        assert_status(rf_safetensors_open(&st, in_folder("bad.safetensors")), RF_INPUT);
        assert_message_has(damages[i].message);
        assert_message_has("bad.safetensors");
        assert_null(st);
    }
}

static void open__wrong_header_length__is_named(void **state)
{
    (void)state;
    rf_safetensors *st = NULL;
    rf_test_write_file(in_folder("short.safetensors"), "1234567", 7);
    assert_status(rf_safetensors_open(&st, in_folder("short.safetensors")), RF_INPUT);
    assert_message_has("too short");
    rf_test_write_file(in_folder("short.safetensors"), "\x04\0\0\0\0\0\0\0{}", 10);
    assert_status(rf_safetensors_open(&st, in_folder("short.safetensors")), RF_INPUT);
    assert_message_has("truncated within its header");
    rf_test_write_file(in_folder("short.safetensors"), "PK\x03\x04\0\0\0\x80{}", 10);
    assert_status(rf_safetensors_open(&st, in_folder("short.safetensors")), RF_INPUT);
    assert_message_has("no safetensors file");
    assert_status(rf_safetensors_open(&st, in_folder("nowhere")), RF_INPUT);
    assert_message_has("nowhere");
}

static void open__every_truncation_and_any_damaged_byte__never_crashes(void **state)
{
    (void)state;
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\"}," F32("a", 2, 0, 8) "," F32(
        "b.c", 1, 8, 12) ",\"e\":{\"dtype\":\"BF16\",\"shape\":[0,7],\"data_offsets\":[12,12]}}  ";
    const size_t length = 8 + strlen(header) + 12;
    make_file("whole.safetensors", header, strlen(header), 12);
    size_t size = 0;
    char *bytes = rf_test_read_file(in_folder("whole.safetensors"), &size);
    assert_int_equal(size, length);
    rf_safetensors *st = NULL;
    assert_ok(rf_safetensors_open(&st, in_folder("whole.safetensors")));
    assert_int_equal(rf_safetensors_count(st), 3);
    rf_safetensors_close(&st);
    for (size_t cut = 0; cut < length; cut++) {
        rf_test_write_file(in_folder("cut.safetensors"), bytes, cut);
        assert_status(rf_safetensors_open(&st, in_folder("cut.safetensors")), RF_INPUT);
    }
    for (uint64_t i = 0; i < 3000; i++) {
        const size_t at = (size_t)(rf_random_bits(1, 0, i) % (8 + strlen(header)));
        const char kept = bytes[at];
        bytes[at] = (char)rf_random_bits(1, 1, i);
        rf_test_write_file(in_folder("cut.safetensors"), bytes, length);
        const rf_status status = rf_safetensors_open(&st, in_folder("cut.safetensors"));
        assert_true(status == RF_OK || status == RF_INPUT);
        rf_safetensors_close(&st);
        bytes[at] = kept;
    }
    free(bytes);
}

static void find__listed_tensors__have_their_shapes(void **state)
{
    (void)state;
    static const char header[] =
        "{\"z\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[0,2]},"
        "\"m\":{\"dtype\":\"I8\",\"shape\":[2,3],\"data_offsets\":[2,8]},"
        "\"e\":{\"dtype\":\"F8_E4M3\",\"shape\":[4],\"data_offsets\":[8,12]}}";
    rf_safetensors *st = NULL;
    make_file("list.safetensors", header, strlen(header), 12);
    assert_ok(rf_safetensors_open(&st, in_folder("list.safetensors")));
    assert_int_equal(rf_safetensors_count(st), 3);
    assert_string_equal(rf_safetensors_at(st, 0)->name, "e");
    const rf_tensor_info *m = rf_safetensors_find(st, "m");
    assert_string_equal(m->dtype, "I8");
    assert_int_equal(m->known, 0);
    assert_int_equal(m->items, 6);
    assert_int_equal(m->dim[1], 3);
    assert_int_equal(rf_safetensors_find(st, "z")->dims, 0);
    assert_null(rf_safetensors_find(st, "q"));
    float number = 0;
    assert_ok(rf_safetensors_load(st, "z", RF_F32, &number, 1));
    assert_near(number, 256 * 0x1p-24, 0, 0); /* bytes 0, 1 */
    assert_status(rf_safetensors_load(st, "z", RF_F32, &number, 2), RF_INPUT);
    assert_message_has("'z' has 1 items, 2 are wanted");
    assert_status(rf_safetensors_load(st, "m", RF_F32, &number, 6), RF_INPUT);
    assert_message_has("'m' of dtype I8 cannot be read as f32");
    assert_status(rf_safetensors_load(st, "q", RF_F32, &number, 1), RF_INPUT);
    assert_message_has("'q' is missing");
    rf_safetensors_close(&st);
}

static rf_status open_index(const char *text)
{
    rf_safetensors *st = NULL;
    rf_test_write_file(in_folder("model.safetensors.index.json"), text, strlen(text));
    const rf_status status = rf_safetensors_open(&st, rf_test_folder());
    if (status == RF_OK) assert_int_equal(rf_safetensors_count(st), 3);
    rf_safetensors_close(&st);
    return status;
}

static void open__index_that_does_not_fit_its_shards__is_named(void **state)
{
    (void)state;
    static const char one[] = "{" F32("a", 1, 0, 4) "," F32("b", 1, 4, 8) "}";
    static const char two[] = "{" F32("c", 1, 0, 4) "}", both[] = "{" F32("b", 1, 0, 4) "}";
    make_file("s1", one, strlen(one), 8);
    make_file("s2", two, strlen(two), 4);
    make_file("s3", both, strlen(both), 4);
    assert_ok(open_index("{\"weight_map\": {\"a\":\"s1\", \"b\":\"s1\", \"c\":\"s2\"}}"));
    const struct {
        const char *text, *message;
    } wrong[] = {
        {"{\"metadata\": {}}", "'weight_map' is missing"},
        {"{\"weight_map\": {\"a\":\"s1\", \"b\":\"s2\", \"c\":\"s2\"}}",
         "'b' is not in s2, where the index puts it"},
        {"{\"weight_map\": {\"a\":\"s1\", \"b\":\"s1\", \"d\":\"s2\"}}", "'d' is not in s2"},
        {"{\"weight_map\": {\"a\":\"s1\", \"c\":\"s2\"}}", "is not in the index"},
        {"{\"weight_map\": {\"a\":\"s1\", \"b\":\"s3\"}}", "'b' is in two files"},
        {"{\"weight_map\": {\"a\":\"s9\"}}", "s9: No such file"},
        {"{\"weight_map\": {\"a\":\"../s1\"}}", "is not the name of a file"},
        {"{\"weight_map\": {\"a\":\"\"}}", "is not the name of a file"},
        {"{\"weight_map\": {\"a\":7}}", "is not the name of a file"},
        {"{\"weight_map\": {", "is not JSON"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_status(open_index(wrong[i].text), RF_INPUT);
        assert_message_has(wrong[i].message);
    }
    remove(in_folder("model.safetensors.index.json"));
}

static void open__folder_without_safetensors__says_why(void **state)
{
    (void)state;
    rf_safetensors *st = NULL;
    assert_int_equal(mkdir(in_folder("bare"), 0777), 0);
    assert_status(rf_safetensors_open(&st, in_folder("bare")), RF_INPUT);
    assert_message_has("no model.safetensors");
    rf_test_write_file(in_folder("bare/pytorch_model.bin"), "", 0);
    assert_status(rf_safetensors_open(&st, in_folder("bare")), RF_INPUT);
    assert_message_has("safe_serialization=True");
}

static const struct CMUnitTest safetensors[] = {
    cmocka_unit_test(open__damaged_header__is_named),
    cmocka_unit_test(open__wrong_header_length__is_named),
    cmocka_unit_test(open__every_truncation_and_any_damaged_byte__never_crashes),
    cmocka_unit_test(find__listed_tensors__have_their_shapes),
    cmocka_unit_test(open__index_that_does_not_fit_its_shards__is_named),
    cmocka_unit_test(open__folder_without_safetensors__says_why),
};
RF_TEST_MAIN(safetensors)
