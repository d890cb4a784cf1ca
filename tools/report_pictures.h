#pragma once
#include <nlohmann/json.hpp>

#include "tools/data_set.h"
#include "tools/evaluation.h"
#include "tools/png.h"

namespace tern {

/// Which mistakes are shown: the worst `worst` first, then, cell by cell of the confusion matrix in turn, the worst of each
/// cell, until there are `most`. Indices of the data set.
std::vector<int64_t> choose_mistakes(const Evaluation& evaluation, int64_t worst, int64_t most);

/// The picture; one with a side over `longest` pixels is made smaller, each pixel the mean of those it stands for.
Picture smaller(Picture picture, int longest);
/// Picture `index` of the data set, smaller where a side is over `longest` pixels.
Picture shown_picture(const data::Dataset& data, int64_t index, int longest);

/// Pictures of one shape in rows of `columns`; the room behind the last one is black. At least one picture.
Picture contact_sheet(std::span<const Picture> pictures, int columns);

/// What the page needs to show mistakes: `sheet` (a data URL of one PNG that holds them all), `width`, `height` (of one of them),
/// `columns`, `worst` (how many of the first are the worst of all) and `items`: [index, label, predicted, probability, loss],
/// labels as numbers of the classes, -1 for a prediction that is no number. The sheet keeps under 1.6 MB.
/// Throws DataError when a picture cannot be read.
nlohmann::ordered_json mistakes_json(const Evaluation& evaluation, const data::Dataset& data);

/// Are these the pictures that were evaluated: as many, with the same labels?
bool same_pictures(const Evaluation& evaluation, const data::Dataset& data);

}  // namespace tern
