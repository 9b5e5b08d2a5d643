"""What the Meaning Map says, in English and Korean; a key means the same in both."""

from mmfm.tasks.classify import DEFAULTS

from .words import COMMON

WORDS: dict[str, dict[str, str]] = {
    "en": {
        **COMMON["en"],
        "title": "Meaning Map",
        "tagline": "Pictures and captions as points in one space: who is near whom, what parts "
        "pictures from words, and what their sums give.",
        "sets": "Choose a set to begin with",
        "set_forms": "Colours and shapes",
        "set_places": "Nine places",
        "set_order": "Left or right?",
        "set_photos": "Photographs",
        "upload_several": "Add pictures",
        "drop_several": "You can also drop or paste pictures anywhere on this page; they join the "
        "set.",
        "small": "clip-shapes is small and knows drawn shapes only: eight colours, eight shapes, "
        "in English and Korean. For photographs start with --model, such as "
        "ViT-B-32/laion2b_s34b_b79k, or hf:google/siglip2-base-patch16-256 for Korean too.",
        "small_things": f"clip-nano is small: it has seen {DEFAULTS['clip-nano']}, and never a "
        "drawn shape. For real work start with --model, such as ViT-B-32/laion2b_s34b_b79k, or "
        "hf:google/siglip2-base-patch16-256 for Korean too.",
        "too_few": "At least {least} of both are needed, pictures and captions.",
        "too_many_pictures": "A set holds at most {most} pictures.",
        "too_many_captions": "A set holds at most {most} captions.",
        "too_long": "A caption has at most {most} letters.",
        "picture_number": "Picture {number}",
        "of": "{found} of {asked}",
        "edit": "Change pictures and captions",
        "set_size": "{pictures} pictures, {texts} captions",
        "edit_note": "Several captions of one picture are parted by |. A change counts when you "
        "press Enter or leave the field.",
        "captions_of": "Captions of picture {number}",
        "no_caption": "no caption of its own",
        "remove": "Remove picture {number}",
        "extra": "Captions of no picture, one a line",
        "matrix": "Who is near whom?",
        "grid_label": "Cosines of captions (rows) with pictures (columns)",
        "cell": "Picture {number}, {caption}: {cosine}",
        "cell_own": "belong together",
        "cell_best_text": "the picture’s nearest caption",
        "cell_best_picture": "the caption’s nearest picture",
        "legend_own": "belong together",
        "legend_best_text": "the picture’s nearest caption",
        "legend_best_picture": "the caption’s nearest picture",
        "missed_picture": "a caption that is not its own is nearer",
        "missed_text": "a picture that is not its own is nearer",
        "matrix_keys": "Point at a square, or walk with the arrow keys. Shades run from the lowest "
        "cosine here to the highest.",
        "choose_pair": "Choose a square to see a pair.",
        "cosine": "Cosine",
        "together": "belong together",
        "apart": "do not belong together",
        "rank_text": "For this picture, number {rank} of {count} captions",
        "rank_picture": "For this caption, number {rank} of {count} pictures",
        "recall": "Who finds a partner first? (recall@1)",
        "found_pictures": "{found} of {asked} pictures: their nearest caption is their own.",
        "found_texts": "{found} of {asked} captions: their nearest picture is their own.",
        "found_none": "No picture here has a caption of its own, so nothing can be right or wrong.",
        "map": "The map",
        "map_label": "Pictures and captions on a flat map",
        "axes": "What the axes show",
        "axes_across": "Across the gap",
        "axes_all": "Most spread",
        "axes_within": "Means removed",
        "kept": "These two axes keep {both} of the variance ({across} across, {up} up); {rest} is "
        "hidden. Near on the map need not be near in the space.",
        "map_keys": "Arrow keys walk from point to point. Lines join pictures to their captions; "
        "the crosses are the mean picture and the mean caption.",
        "gap": "The gap",
        "gap_distance": "Mean picture and mean caption are {distance} apart.",
        "gap_amount": "Closed by {share}",
        "gap_wide": "twice",
        "gap_now": "as it is",
        "gap_closed": "closed",
        "gap_crossed": "crossed",
        "curve_pictures": "pictures find their caption",
        "curve_texts": "captions find their picture",
        "curve_pile": "pictures find it in one pile with the other pictures",
        "means": "Mean cosine, as it is",
        "mean_pairs": "a picture and its caption",
        "mean_pictures": "two pictures",
        "mean_texts": "two captions",
        "sums": "Sums of meaning",
        "sum_start": "This picture",
        "sum_minus": "minus",
        "sum_plus": "plus",
        "sum_go": "Add up",
        "strength": "Strength {strength}",
        "near_pictures": "Nearest pictures",
        "near_texts": "Nearest captions",
        "began": "began here",
        "sum_arrives": "{start}{way} arrives at “{other}” ({cosine}).",
        "sum_stays": "{start}{way} is still nearest to itself; next comes “{other}” ({cosine}).",
        "sum_note": "Numbers are raw cosines with the sum. The picture that it began with is left "
        "in the list, as it often wins.",
        "rivals": "Hardest negatives",
        "rivals_ask": "Who asks",
        "pictures_ask": "Pictures",
        "texts_ask": "Captions",
        "rivals_lost": "{lost} of {count} are nearer to a wrong answer than to a right one.",
        "rivals_note": "The nearest right answer of each (✓) and the nearest wrong one (✗). The "
        "margin is the wrong cosine minus the right one: above 0 the wrong one wins. Choosing one "
        "shows it in the table and on the map.",
        "margin": "margin",
        "lessons": "What am I looking at?",
        "lesson_space": "One space",
        "lesson_space_text": "A CLIP has two towers. One turns a picture, the other a text into a "
        "list of numbers: a vector of length 1. Training pulled each picture and its caption "
        "together and pushed the others away, so that direction came to stand for meaning.",
        "lesson_cosine": "Cosine",
        "lesson_cosine_text": "The cosine of two vectors is 1 where they point the same way and 0 "
        "where they stand at right angles. What counts as high differs from model to model: a "
        "good pair has about 0.8 for clip-shapes and about 0.3 for many published models. Compare "
        "within a row or a column, not between models.",
        "lesson_map": "A flat map",
        "lesson_map_text": "The space has over a hundred dimensions, the map two. “Most spread” "
        "takes the directions along which all points differ most (principal components), “Means "
        "removed” does so after the mean picture and the mean caption were taken away. The line "
        "under the map says how much is hidden.",
        "lesson_gap": "The modality gap",
        "lesson_gap_text": "Pictures and captions lie in regions of their own, even where every "
        "pair is right: training compares pictures with captions only, so a shift of all pictures "
        "costs little (Liang et al. 2022). Moving the two together hardly changes who finds whom. "
        "It matters where pictures and texts lie in one pile: there a picture finds pictures.",
        "lesson_sums": "Sums",
        "lesson_sums_text": "Take “red” away and add “blue”: what both words share cancels out, "
        "the gap too, and the difference of colour remains. Where that works, colour is about "
        "the same direction for every shape. It fails where the model has no such direction: try "
        "“Left or right?”.",
        "lesson_rivals": "Hardest negatives",
        "lesson_rivals_text": "A model is tested by wrong answers that are nearly right. With "
        "two objects, “left of” and “right of” use the same words for another picture, and a model "
        "that reads a caption as a bag of words cannot tell them apart. High recall on easy sets "
        "hides that.",
    },
    "ko": {
        **COMMON["ko"],
        "title": "의미 지도",
        "tagline": "그림과 설명을 한 공간의 점으로 놓아 보세요. 누가 누구와 가까운지, 그림과 글은 "
        "왜 떨어져 있는지, 더하고 빼면 어디에 닿는지 볼 수 있어요.",
        "sets": "묶음을 골라 보세요",
        "set_forms": "색과 모양",
        "set_places": "아홉 자리",
        "set_order": "왼쪽? 오른쪽?",
        "set_photos": "사진",
        "upload_several": "그림 추가",
        "drop_several": "이 페이지 아무 곳에나 그림을 끌어다 놓거나 붙여 넣어도 돼요. 지금 묶음에 "
        "더해져요.",
        "small": "clip-shapes는 작은 모델이라 도형 그림만 알아요. 여덟 가지 색과 여덟 가지 모양을 "
        "영어와 한국어로 배웠어요. 사진을 보려면 --model로 ViT-B-32/laion2b_s34b_b79k 같은 모델을, "
        "한국어까지 쓰려면 hf:google/siglip2-base-patch16-256을 골라 시작하세요.",
        "small_things": "clip-nano는 작은 모델이에요. 일상에서 보는 200가지쯤의 작은 사진과 "
        "이모지를 영어와 한국어로 배웠고, 도형 그림은 본 적이 없어요. 실제로 쓰려면 --model로 "
        "ViT-B-32/laion2b_s34b_b79k 같은 모델을, 한국어까지 쓰려면 "
        "hf:google/siglip2-base-patch16-256을 골라 시작하세요.",
        "too_few": "그림과 설명이 저마다 {least}개는 있어야 해요.",
        "too_many_pictures": "한 묶음에 그림은 {most}장까지 담을 수 있어요.",
        "too_many_captions": "한 묶음에 설명은 {most}개까지 담을 수 있어요.",
        "too_long": "설명 하나는 {most}자까지 쓸 수 있어요.",
        "picture_number": "그림 {number}",
        "of": "{asked} 가운데 {found}",
        "edit": "그림과 설명 바꾸기",
        "set_size": "그림 {pictures}장, 설명 {texts}개",
        "edit_note": "한 그림에 설명이 여럿이면 |로 나눠 쓰세요. 엔터 키를 누르거나 칸을 떠나면 "
        "반영돼요.",
        "captions_of": "그림 {number}의 설명",
        "no_caption": "짝이 되는 설명 없음",
        "remove": "그림 {number} 빼기",
        "extra": "짝 없는 설명 (한 줄에 하나)",
        "matrix": "누가 누구와 가까울까요?",
        "grid_label": "설명(행)과 그림(열)의 코사인",
        "cell": "그림 {number}, {caption}: {cosine}",
        "cell_own": "서로 짝",
        "cell_best_text": "그림에게 가장 가까운 설명",
        "cell_best_picture": "설명에게 가장 가까운 그림",
        "legend_own": "서로 짝",
        "legend_best_text": "그림에게 가장 가까운 설명",
        "legend_best_picture": "설명에게 가장 가까운 그림",
        "missed_picture": "짝이 아닌 설명이 더 가까워요",
        "missed_text": "짝이 아닌 그림이 더 가까워요",
        "matrix_keys": "칸을 가리키거나 화살표 키로 옮겨 다녀 보세요. 색의 짙기는 여기에서 가장 "
        "낮은 코사인부터 가장 높은 코사인까지예요.",
        "choose_pair": "칸을 고르면 그림과 설명을 함께 보여 드려요.",
        "cosine": "코사인",
        "together": "서로 짝이에요",
        "apart": "짝이 아니에요",
        "rank_text": "이 그림에게는 설명 {count}개 가운데 {rank}번째",
        "rank_picture": "이 설명에게는 그림 {count}장 가운데 {rank}번째",
        "recall": "누가 짝을 먼저 찾나요? (recall@1)",
        "found_pictures": "그림 {asked}장 가운데 {found}장은 자기 설명이 가장 가까워요.",
        "found_texts": "설명 {asked}개 가운데 {found}개는 자기 그림이 가장 가까워요.",
        "found_none": "짝이 되는 설명을 가진 그림이 없어서 맞고 틀림을 따질 수 없어요.",
        "map": "지도",
        "map_label": "평면 지도에 놓인 그림과 설명",
        "axes": "축이 보여 주는 것",
        "axes_across": "틈을 가로질러",
        "axes_all": "가장 넓게",
        "axes_within": "평균을 빼고",
        "kept": "두 축에 분산의 {both}가 담겨 있어요(가로 {across}, 세로 {up}). 나머지 {rest}는 "
        "보이지 않아요. 지도에서 가깝다고 공간에서도 꼭 가까운 건 아니에요.",
        "map_keys": "화살표 키로 점에서 점으로 옮겨 다녀 보세요. 선은 그림과 그 설명을 이어요. "
        "십자 표시는 그림의 평균과 설명의 평균이에요.",
        "gap": "그림과 글 사이의 틈",
        "gap_distance": "그림의 평균과 설명의 평균은 {distance}만큼 떨어져 있어요.",
        "gap_amount": "틈을 {share} 좁힘",
        "gap_wide": "두 배",
        "gap_now": "그대로",
        "gap_closed": "닫힘",
        "gap_crossed": "엇갈림",
        "curve_pictures": "자기 설명을 찾은 그림",
        "curve_texts": "자기 그림을 찾은 설명",
        "curve_pile": "다른 그림들과 섞여 있어도 자기 설명을 찾은 그림",
        "means": "평균 코사인 (그대로일 때)",
        "mean_pairs": "그림과 그 설명",
        "mean_pictures": "그림과 그림",
        "mean_texts": "설명과 설명",
        "sums": "의미의 덧셈과 뺄셈",
        "sum_start": "이 그림에서",
        "sum_minus": "빼기",
        "sum_plus": "더하기",
        "sum_go": "계산하기",
        "strength": "세기 {strength}",
        "near_pictures": "가까운 그림",
        "near_texts": "가까운 설명",
        "began": "시작한 그림",
        "sum_arrives": "{start}{way} → “{other}”에 닿았어요 ({cosine}).",
        "sum_stays": "{start}{way} → 아직 시작한 그림이 가장 가깝고, 다음으로 “{other}”도 가까워요 "
        "({cosine}).",
        "sum_note": "숫자는 계산한 벡터와의 코사인 그대로예요. 시작한 그림이 이길 때가 많아서 "
        "목록에 그대로 두었어요.",
        "rivals": "가장 헷갈리는 오답",
        "rivals_ask": "누가 묻나요?",
        "pictures_ask": "그림",
        "texts_ask": "설명",
        "rivals_lost": "{count}개 가운데 {lost}개는 정답보다 오답이 더 가까워요.",
        "rivals_note": "저마다 가장 가까운 정답(✓)과 가장 가까운 오답(✗)이에요. 차이는 오답의 "
        "코사인에서 정답의 코사인을 뺀 값이고, 0보다 크면 오답이 이겨요. 하나를 고르면 위의 표와 "
        "지도에서도 볼 수 있어요.",
        "margin": "차이",
        "lessons": "지금 무엇을 보고 있나요?",
        "lesson_space": "하나의 공간",
        "lesson_space_text": "CLIP에는 탑이 둘 있어요. 하나는 그림을, 다른 하나는 글을 숫자 목록, "
        "곧 길이가 1인 벡터로 바꿔요. 학습은 그림과 그 설명을 서로 끌어당기고 나머지는 밀어냈어요. "
        "그래서 방향이 의미를 나타내게 되었어요.",
        "lesson_cosine": "코사인",
        "lesson_cosine_text": "두 벡터의 코사인은 같은 방향이면 1, 직각이면 0이에요. 얼마면 "
        "높은지는 모델마다 달라요. 잘 맞는 짝이 clip-shapes에서는 0.8쯤이지만, 공개된 모델 "
        "가운데는 0.3쯤인 것이 많아요. 모델끼리 견주지 말고 같은 행이나 같은 열 안에서 견주세요.",
        "lesson_map": "평면 지도",
        "lesson_map_text": "공간은 백 차원이 넘지만 지도는 두 차원이에요. ‘가장 넓게’는 모든 점이 "
        "가장 크게 달라지는 방향(주성분)을 골라요. ‘평균을 빼고’는 그림의 평균과 설명의 평균을 "
        "먼저 뺀 다음 골라요. 얼마나 가려져 있는지는 지도 아래에 적혀 있어요.",
        "lesson_gap": "모달리티 갭",
        "lesson_gap_text": "짝을 모두 맞히는 모델에서도 그림과 설명은 저마다 다른 구역에 모여 "
        "있어요. 학습이 그림을 설명하고만 견주기 때문에, 그림 전체가 한쪽으로 밀려도 손해가 거의 "
        "없거든요(Liang et al. 2022). 둘을 겹쳐 놓아도 누가 누구를 찾는지는 거의 그대로예요. "
        "그림과 글을 한데 섞어 놓고 찾을 때는 달라요. 그때 그림은 다른 그림부터 찾아요.",
        "lesson_sums": "덧셈과 뺄셈",
        "lesson_sums_text": "‘빨간’을 빼고 ‘파란’을 더하면 두 낱말이 함께 가진 것은 틈까지 서로 "
        "지워지고 색의 차이만 남아요. 이게 잘된다면 어떤 모양이든 색의 방향이 거의 같다는 "
        "뜻이에요. 모델에 그런 방향이 없으면 안 돼요. ‘왼쪽? 오른쪽?’ 묶음에서 해 보세요.",
        "lesson_rivals": "헷갈리는 오답",
        "lesson_rivals_text": "모델은 거의 맞는 오답으로 시험해야 해요. 도형이 둘이면 ‘왼쪽’과 "
        "‘오른쪽’만 바꿔도 다른 그림이 돼요. 설명을 낱말 주머니처럼 읽는 모델은 이 둘을 가려내지 "
        "못해요. 쉬운 묶음에서 높은 점수를 받으면 이런 약점이 보이지 않아요.",
    },
}
