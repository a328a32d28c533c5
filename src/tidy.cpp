// Tidying of a label map by its connected parts: what is left over of an object, specks and holes.

#include "kernel_support.hpp"

#include <numeric>
#include <utility>

namespace {

using namespace rmpsam;

// Pixels [begin, end) of one row with one label.
struct RowRun {
  int32_t begin, end;
  uint16_t label;
};

// A label map as runs that end with their rows; rows [height + 1]: the first run of every row.
struct RowRuns {
  std::vector<RowRun> runs;
  std::vector<int32_t> rows;
  int height, width;
};

// What is done; see rmpsam_tidy_runs.
struct Rules {
  const uint8_t* is_thing;
  int32_t labels;
  double min_piece;
  int64_t min_area, max_speck, max_hole;
};

// Returns false if the runs do not fill the map, or a label is too large.
bool split_rows(const uint16_t* labels, const uint32_t* lengths, int64_t count, int32_t most,
                RowRuns& map) {
  map.rows.assign(1, 0);
  int32_t x = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (labels[i] >= most) return false;
    for (int64_t left = lengths[i]; left > 0;) {
      if (static_cast<int>(map.rows.size()) > map.height) return false;
      const auto part = static_cast<int32_t>(std::min<int64_t>(left, map.width - x));
      map.runs.push_back({x, x + part, labels[i]});
      x += part;
      left -= part;
      if (x == map.width) {
        map.rows.push_back(static_cast<int32_t>(map.runs.size()));
        x = 0;
      }
    }
  }
  return x == 0 && static_cast<int>(map.rows.size()) == map.height + 1;
}

// Calls pair(above, below, shared) for all runs of two rows that share columns, or only touch at a
// corner: then shared is 0.
template <class Pair>
void each_vertical_pair(const RowRuns& map, int y, const Pair& pair) {
  int above = map.rows[y - 1];
  for (int below = map.rows[y]; below < map.rows[y + 1]; ++below) {
    const RowRun& own = map.runs[below];
    while (map.runs[above].end < own.begin) ++above;
    for (int k = above; k < map.rows[y] && map.runs[k].begin <= own.end; ++k) {
      const RowRun& other = map.runs[k];
      pair(k, below, std::min(own.end, other.end) - std::max(own.begin, other.begin));
    }
  }
}

// The connected parts of a map: its runs as a union-find forest. Pixels of a segment are neighbours
// at corners, too; those of no segment (0) are not, so that a hole ends where its border is closed.
class Parts {
 public:
  explicit Parts(const RowRuns& map) : parents_(map.runs.size()), areas_(map.runs.size()) {
    std::iota(parents_.begin(), parents_.end(), 0);
    for (int y = 0; y < map.height; ++y) {
      for (int i = map.rows[y] + 1; i < map.rows[y + 1]; ++i) {
        if (map.runs[i].label == map.runs[i - 1].label) unite(i, i - 1);
      }
      if (y == 0) continue;
      each_vertical_pair(map, y, [&](int above, int below, int shared) {
        const uint16_t label = map.runs[below].label;
        if (label == map.runs[above].label && (shared > 0 || label != 0)) unite(above, below);
      });
    }
    for (size_t i = 0; i < map.runs.size(); ++i) {
      areas_[part_of(static_cast<int>(i))] += map.runs[i].end - map.runs[i].begin;
    }
  }

  // The part that a run belongs to: the first of its runs.
  int part_of(int run) {
    while (parents_[run] != run) run = parents_[run] = parents_[parents_[run]];
    return run;
  }

  int64_t area(int part) const { return areas_[part]; }

 private:
  void unite(int a, int b) {
    a = part_of(a), b = part_of(b);
    parents_[std::max(a, b)] = std::min(a, b);
  }

  std::vector<int32_t> parents_;
  std::vector<int64_t> areas_;
};

// Takes the label from parts of things that are small beside their largest part, and from segments
// that are small altogether.
void drop_pieces(RowRuns& map, const Rules& rules) {
  Parts parts(map);
  std::vector<int64_t> largest(rules.labels), total(rules.labels);
  const int count = static_cast<int>(map.runs.size());
  for (int i = 0; i < count; ++i) {
    if (parts.part_of(i) == i) {
      int64_t& most = largest[map.runs[i].label];
      most = std::max(most, parts.area(i));
    }
  }
  const auto is_dropped = [&](int part, uint16_t label) {
    return rules.is_thing[label] &&
           static_cast<double>(parts.area(part)) <
               rules.min_piece * static_cast<double>(largest[label]);
  };
  for (int i = 0; i < count; ++i) {
    const uint16_t label = map.runs[i].label;
    if (parts.part_of(i) == i && !is_dropped(i, label)) total[label] += parts.area(i);
  }
  for (int i = 0; i < count; ++i) {
    uint16_t& label = map.runs[i].label;
    if (total[label] < rules.min_area || is_dropped(parts.part_of(i), label)) label = 0;
  }
}

// Length of the border of one small part with every label around it.
using Borders = std::vector<std::pair<uint16_t, int64_t>>;

void add_border(Borders& borders, uint16_t label, int64_t length) {
  for (auto& entry : borders) {
    if (entry.first == label) {
      entry.second += length;
      return;
    }
  }
  borders.emplace_back(label, length);
}

// Gives small patches of stuff, and small holes, to what they have the longest border with. Other
// small ones do not count: of two specks neither knows where it belongs.
void absorb_specks(RowRuns& map, const Rules& rules) {
  Parts parts(map);
  const int count = static_cast<int>(map.runs.size());
  std::vector<int32_t> places(count, -1);  // of small parts among the borders
  std::vector<Borders> borders;
  for (int i = 0; i < count; ++i) {
    const uint16_t label = map.runs[i].label;
    if (parts.part_of(i) != i || rules.is_thing[label]) continue;
    if (parts.area(i) > (label == 0 ? rules.max_hole : rules.max_speck)) continue;
    places[i] = static_cast<int32_t>(borders.size());
    borders.emplace_back();
  }
  const auto meet = [&](int a, int b, int64_t length) {
    const int first = parts.part_of(a), second = parts.part_of(b);
    if (first == second || length < 1) return;
    const int place = places[first], other = places[second];
    if (place >= 0 && other < 0) add_border(borders[place], map.runs[b].label, length);
    if (other >= 0 && place < 0) add_border(borders[other], map.runs[a].label, length);
  };
  for (int y = 0; y < map.height; ++y) {
    for (int i = map.rows[y] + 1; i < map.rows[y + 1]; ++i) meet(i - 1, i, 1);
    if (y > 0) each_vertical_pair(map, y, meet);
  }
  for (int i = 0; i < count; ++i) {
    const int place = places[parts.part_of(i)];
    if (place < 0 || borders[place].empty()) continue;
    // Of equals the smaller label: the result does not depend on where the part begins.
    map.runs[i].label = std::max_element(borders[place].begin(), borders[place].end(),
                                         [](const auto& a, const auto& b) {
                                           return a.second != b.second ? a.second < b.second
                                                                       : a.first > b.first;
                                         })
                            ->first;
  }
}

// Writes the map as runs, and areas and boxes by label; returns how many runs there are.
int64_t write_runs(const RowRuns& map, const Rules& rules, uint16_t* labels, uint32_t* lengths,
                   int64_t* areas, int32_t* boxes) {
  for (int label = 0; label < rules.labels; ++label) {
    areas[label] = 0;
    boxes[4 * label] = map.width, boxes[4 * label + 1] = map.height;
    boxes[4 * label + 2] = boxes[4 * label + 3] = 0;
  }
  int64_t count = 0;
  for (int y = 0; y < map.height; ++y) {
    for (int i = map.rows[y]; i < map.rows[y + 1]; ++i) {
      const RowRun& run = map.runs[i];
      const uint32_t length = run.end - run.begin;
      if (count > 0 && labels[count - 1] == run.label) {
        lengths[count - 1] += length;
      } else {
        labels[count] = run.label;
        lengths[count++] = length;
      }
      areas[run.label] += length;
      int32_t* box = boxes + 4 * static_cast<size_t>(run.label);
      box[0] = std::min(box[0], run.begin), box[1] = std::min(box[1], y);
      box[2] = std::max(box[2], run.end), box[3] = std::max(box[3], y + 1);
    }
  }
  return count;
}

}  // namespace

// Tidies a label map of height * width pixels, given as runs in row-major order; label 0 is nothing.
//
// - Parts of a thing smaller than min_piece (0 to 1) of its largest part become 0, and so do all
//   segments that then have fewer than min_area pixels.
// - Then parts of stuff of at most max_speck pixels, and of 0 of at most max_hole pixels, get the
//   label that they share the longest border with, among parts that are not small themselves.
//
// is_thing [labels]: by label, 0 for label 0. out_labels and out_lengths have room for
// runs + height entries; *out_runs receives how many were written. areas [labels], boxes [labels][4]:
// x_min, y_min, x_max, y_max, exclusive, meaningless for an area of 0.
RMPSAM_API int rmpsam_tidy_runs(const uint16_t* run_labels, const uint32_t* lengths, int64_t runs,
                                int32_t height, int32_t width, const uint8_t* is_thing,
                                int32_t labels, double min_piece, int64_t min_area,
                                int64_t max_speck, int64_t max_hole, uint16_t* out_labels,
                                uint32_t* out_lengths, int64_t* out_runs, int64_t* areas,
                                int32_t* boxes) {
  return rmpsam::guarded([&]() -> int {
    if (height < 1 || width < 1 || labels < 1) return kBadArgument;
    const Rules rules{is_thing, labels, min_piece, min_area, max_speck, max_hole};
    RowRuns map{{}, {}, height, width};
    map.runs.reserve(static_cast<size_t>(runs) + height);
    map.rows.reserve(height + 1);
    if (!split_rows(run_labels, lengths, runs, labels, map)) return kBadArgument;
    if (min_piece > 0 || min_area > 1) drop_pieces(map, rules);
    if (max_speck > 0 || max_hole > 0) absorb_specks(map, rules);
    *out_runs = write_runs(map, rules, out_labels, out_lengths, areas, boxes);
    return kOk;
  });
}
