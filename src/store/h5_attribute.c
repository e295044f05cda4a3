#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "h5_private.h"
#include "h5_type.h"

hid_t rf_h5_object(const rf_h5 *file, const char *path)
{
    const hid_t object = H5Oopen(file->id, path, H5P_DEFAULT);
    if (object < 0) H5Eclear2(H5E_DEFAULT);
    return object;
}

/* 1 when the attribute has this very type, so that its value can be replaced in place. */
static int fits(hid_t attribute, hid_t type)
{
    const hid_t present = H5Aget_type(attribute);
    const int same = H5Tequal(present, type) > 0;
    rf_h5_drop(present);
    return same;
}

/* Writes or replaces attribute `name`. On parallel files every rank runs the same calls. */
static herr_t put(hid_t object, const char *name, hid_t type, const void *value)
{
    hid_t attribute = H5Aexists(object, name) > 0 ? H5Aopen(object, name, H5P_DEFAULT) : -1;
    if (attribute >= 0 && !fits(attribute, type)) {
        rf_h5_drop(attribute);
        attribute = -1;
        if (H5Adelete(object, name) < 0) return -1;
    }
    const hid_t space = H5Screate(H5S_SCALAR);
    if (attribute < 0) attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    const herr_t status = attribute >= 0 ? H5Awrite(attribute, type, value) : -1;
    rf_h5_drop(attribute);
    rf_h5_drop(space);
    return status;
}

/* Takes the type. */
static rf_status put_typed(rf_h5 *file, const char *path, const char *name, hid_t type,
                           const void *value)
{
    const hid_t object = H5Oopen(file->id, path, H5P_DEFAULT);
    rf_status status = RF_OK;
    if (object < 0 || type < 0 || put(object, name, type, value) < 0) {
        char doing[128];
        snprintf(doing, sizeof doing, "write attribute '%s' of", name);
        status = rf_h5_fail(file, doing, path);
    }
    rf_h5_drop(object);
    rf_h5_drop(type);
    return rf_h5_agree(file, status);
}

rf_status rf_h5_put_text(rf_h5 *file, const char *path, const char *name, const char *text)
{
    return put_typed(file, path, name, rf_h5_text_type(strlen(text) + 1, H5T_STR_NULLTERM), text);
}

rf_status rf_h5_put_int(rf_h5 *file, const char *path, const char *name, int64_t value)
{
    return put_typed(file, path, name, rf_h5_number_type(RF_I64), &value);
}

rf_status rf_h5_put_number(rf_h5 *file, const char *path, const char *name, double value)
{
    return put_typed(file, path, name, rf_h5_number_type(RF_F64), &value);
}

rf_status rf_h5_describe(rf_h5 *file, const char *path, const char *unit, const char *description)
{
    RF_TRY(rf_h5_put_text(file, path, "unit", unit));
    return rf_h5_put_text(file, path, "description", description);
}

/* What reading an attribute yields: a scalar of the class wanted, else -1. */
static hid_t open_attribute(const rf_h5 *file, const char *path, const char *name, hid_t *type)
{
    *type = -1;
    const hid_t attribute = H5Aopen_by_name(file->id, path, name, H5P_DEFAULT, H5P_DEFAULT);
    if (attribute < 0) return -1;
    const hid_t space = H5Aget_space(attribute);
    const int scalar = H5Sget_simple_extent_npoints(space) == 1;
    rf_h5_drop(space);
    if (scalar) *type = H5Aget_type(attribute);
    return attribute;
}

static rf_status get_failed(const rf_h5 *file, const char *path, const char *name,
                            const char *wanted)
{
    H5Eclear2(H5E_DEFAULT);
    return rf_fail(file->writing ? RF_WRITE : RF_INPUT,
                   "object '%s' of '%s' has no attribute '%s' that is a %s. The file is damaged or "
                   "not what it should be",
                   path, file->path, name, wanted);
}

static herr_t read_text(hid_t attribute, hid_t type, char **text)
{
    *text = NULL;
    if (type < 0 || H5Tget_class(type) != H5T_STRING) return -1;
    if (H5Tis_variable_str(type) > 0) {
        char *inside = NULL;
        if (H5Aread(attribute, type, &inside) < 0 || !inside) return -1;
        *text = strdup(inside);
        H5free_memory(inside);
        return *text ? 0 : -1;
    }
    *text = calloc(H5Tget_size(type) + 1, 1);
    return *text ? H5Aread(attribute, type, *text) : -1;
}

rf_status rf_h5_get_text(rf_h5 *file, const char *path, const char *name, char **text)
{
    hid_t type = -1;
    const hid_t attribute = open_attribute(file, path, name, &type);
    rf_status status = RF_OK;
    *text = NULL;
    if (attribute < 0 || read_text(attribute, type, text) < 0)
        status = get_failed(file, path, name, "string");
    rf_h5_drop(type);
    rf_h5_drop(attribute);
    status = rf_h5_agree(file, status);
    if (status == RF_OK) return RF_OK;
    free(*text);
    *text = NULL;
    return status;
}

static rf_status get_value(rf_h5 *file, const char *path, const char *name, hid_t memory,
                           void *value)
{
    hid_t type = -1;
    const hid_t attribute = open_attribute(file, path, name, &type);
    const H5T_class_t class = type >= 0 ? H5Tget_class(type) : H5T_NO_CLASS;
    rf_status status = RF_OK;
    if ((class != H5T_INTEGER && class != H5T_FLOAT) || H5Aread(attribute, memory, value) < 0)
        status = get_failed(file, path, name, "number");
    rf_h5_drop(type);
    rf_h5_drop(attribute);
    return rf_h5_agree(file, status);
}

rf_status rf_h5_get_int(rf_h5 *file, const char *path, const char *name, int64_t *value)
{
    return get_value(file, path, name, H5T_NATIVE_INT64, value);
}

rf_status rf_h5_get_number(rf_h5 *file, const char *path, const char *name, double *value)
{
    return get_value(file, path, name, H5T_NATIVE_DOUBLE, value);
}

int rf_h5_has_attribute(rf_h5 *file, const char *path, const char *name)
{
    const int has = H5Aexists_by_name(file->id, path, name, H5P_DEFAULT) > 0;
    H5Eclear2(H5E_DEFAULT);
    return has;
}

int rf_h5_is_text(rf_h5 *file, const char *path, const char *name)
{
    hid_t type = -1;
    const hid_t attribute = open_attribute(file, path, name, &type);
    const int text = type >= 0 && H5Tget_class(type) == H5T_STRING;
    rf_h5_drop(type);
    rf_h5_drop(attribute);
    H5Eclear2(H5E_DEFAULT);
    return text;
}
