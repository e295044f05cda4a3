/* keeps the layer buildable until its first source arrives */
typedef int rf_store_layer;
