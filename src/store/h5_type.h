/** HDF5 types and layouts of ours; handles returned are the caller's to drop, -1 on failure. */
#ifndef RF_STORE_H5_TYPE_H
#define RF_STORE_H5_TYPE_H

#include <hdf5.h>

#include "refract/store/h5.h"

hid_t rf_h5_number_type(rf_dtype dtype);
hid_t rf_h5_text_type(size_t bytes, H5T_str_t padding);
hid_t rf_h5_layout_type(const rf_h5_layout *layout);

/** Layout of an open dataset; 0 when its type or rank is none of ours. Local. */
int rf_h5_read_layout(hid_t set, rf_h5_layout *layout);

#endif
