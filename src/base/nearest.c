#include "refract/base/nearest.h"

#include <string.h>

enum { LONGEST = 127 };

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static int length_of(const char *word)
{
    return (int)strnlen(word, LONGEST);
}

int rf_edit_distance(const char *a, const char *b)
{
    const int rows = length_of(a), columns = length_of(b);
    int table[3][LONGEST + 1]; /* row i of the distance table is table[i % 3] */
    for (int j = 0; j <= columns; j++) table[0][j] = j;
    for (int i = 1; i <= rows; i++) {
        int *now = table[i % 3];
        const int *above = table[(i + 2) % 3], *above_two = table[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= columns; j++) {
            const int replace = above[j - 1] + (a[i - 1] != b[j - 1]);
            now[j] = smaller(replace, smaller(above[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = smaller(now[j], above_two[j - 2] + 1);
        }
    }
    return table[rows % 3][columns];
}

rf_nearest rf_nearest_start(const char *word)
{
    return (rf_nearest){.word = word, .below = length_of(word) / 3 + 2};
}

int rf_nearest_offer(rf_nearest *search, const char *candidate)
{
    const int distance = rf_edit_distance(search->word, candidate);
    if (distance >= search->below) return 0;
    search->best = candidate;
    search->below = distance;
    return 1;
}
