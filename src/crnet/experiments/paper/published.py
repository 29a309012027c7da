"""The numbers that the paper prints in Tables 1 to 7: 1 - MAE on the test split of First Impressions v2."""

from __future__ import annotations

from crnet.experiments.columns import COLUMNS, PublishedScores


def _row(printed: str) -> PublishedScores:
    return {name: float(n) for name, n in zip(COLUMNS, printed.split(), strict=True) if n != "-"}


def _rows(text: str) -> dict[str, PublishedScores]:
    lines = (line.split("|") for line in text.strip().splitlines())
    return {name.strip(): _row(printed) for name, printed in lines}


TABLE_1 = _rows("""
Our                             | .9202 .9146 .9177 .9218 .9195 .9188 .9247
Our-w/o text                    | .9200 .9150 .9176 .9218 .9191 .9187 .9244
Kaya et al. (2017) **           | .9213 .9146 .9137 .9198 .9170 .9173 .9209
Gürpınar et al. (2016) *        | .9180 .9110 .9070 .9150 .9140 .9130 -
Zhang et al. (2016) *           | .9133 .9100 .9126 .9166 .9123 .9130 -
Subramaniam et al. (2016) *     | .9150 .9099 .9119 .9119 .9117 .9121 -
Güçlütürk et al. (2018)         | .9112 .9104 .9112 .9152 .9111 .9118 .9162
Bekhouche et al. (2017)         | .9155 .9083 .9103 .9138 .9101 .9116 .9157
Ventura et al. (2017)           | .9150 .9070 .9120 .9140 .9100 .9116 -
Güçlütürk et al. (2016a) *      | .9107 .9089 .9102 .9138 .9111 .9109 -
ucas (Ponce-López et al. 2016) *| .9129 .9064 .9091 .9107 .9099 .9098 -
Gürpınar et al. (2016b) *       | .9161 .9021 .9070 .9133 .9084 .9094 -
ROCHCI (Escalante et al. 2018)  | .9026 .9011 .9032 .8949 .9047 .9013 .9018
Vo et al. (2018) ***            | .8816 .8814 .8958 .8772 .8864 .8845 -
FDMB (Escalante et al. 2018)    | .8788 .8632 .8910 .8659 .8747 .8747 .8721
""")
TABLE_1_OWN = ("Our", "Our-w/o text")
TABLE_1_NOTES = (
    "* trained and evaluated on First Impressions v1",
    "** trained on the training and validation splits",
    "*** converted from mean absolute errors by the paper's authors",
)

TABLE_2 = (
    ("Ours", "Video, audio, text", "CR-Net", "3", "0.9188"),
    ("Kaya et al. (2017)", "Video, audio", "VGG-face, VGG-VD19, ELM, random forest", "4", "0.9173"),
    ("Gürpınar et al. (2016)", "Video, audio", "VGG-face, VGG-VD19, ELM", "3", "0.9130"),
    ("Zhang et al. (2016)", "Video, audio", "VGG-face, ResNet, DAN/DAN+, linear regressor", "5", "0.9130"),
    ("Subramaniam et al. (2016)", "Video, audio", "3D CNN, LSTM", "2", "0.9121"),
    ("Güçlütürk et al. (2018)", "Video, audio, text", "ResNet, ridge regression", "3", "0.9118"),
    ("Bekhouche et al. (2017)", "Video", "Pyramid multi-level, support vector regressor", "5", "0.9116"),
    ("Ventura et al. (2017)", "Video", "DAN+", "5", "0.9116"),
    ("Güçlütürk et al. (2016a)", "Video, audio", "ResNet", "2", "0.9109"),
    ("ucas (Ponce-López et al. 2016)", "Video, audio", "lbptop, hog3d, VGG, AlexNet, ResNet", "16", "0.9098"),
    ("Gürpınar et al. (2016b)", "Video", "CNN", "2", "0.9094"),
    (
        "Vo et al. (2018)",
        "Video, audio, text",
        "Mixture density network, Gaussian mixture, boosting cascade",
        "4",
        "0.8845",
    ),
)
"""Method, modality, network, number of networks, average over the five traits."""

TABLE_3 = _rows("""
face        | .9167 .9090 .9130 .9151 .9125 .9133 .9177
scene       | .9133 .9087 .9148 .9183 .9139 .9138 .9187
multi-focus | .9199 .9123 .9168 .9204 .9168 .9172 .9230
audio       | .8942 .8942 .9005 .8912 .8996 .8959 .8974
text        | .8825 .8818 .8964 .8800 .8872 .8856 .8855
audio+text  | .8953 .8951 .9010 .8920 .9002 .8967 .8981
""")

TABLE_4 = _rows("""
face -               | .9041 .8949 .9025 .9051 .8927 .8999 .9049
face CR              | .9121 .9019 .9079 .9045 .9098 .9072 .9104
face Bell            | .9134 .9031 .9060 .9090 .9065 .9076 .9094
face CR Bell         | .9167 .9090 .9130 .9151 .9125 .9133 .9177
scene -              | .9028 .8972 .9036 .9063 .9026 .9025 .9065
scene CR             | .9057 .9022 .9087 .9113 .9086 .9073 .9098
scene Bell           | .9088 .9054 .9086 .9142 .9066 .9087 .9129
scene CR Bell        | .9133 .9087 .9148 .9183 .9139 .9138 .9187
audio-text -         | .8891 .8829 .8937 .8853 .8914 .8885 .8909
audio-text CR        | .8896 .8901 .8989 .8877 .8963 .8925 .8949
audio-text Bell      | .8919 .8917 .8996 .8877 .8976 .8937 .8952
audio-text CR Bell   | .8953 .8951 .9010 .8920 .9002 .8967 .8981
""")

TABLE_5 = _rows("""
face L1              | .9016 .8861 .8974 .8801 .8903 .8911 .9055
face L2              | .9044 .8915 .9024 .9017 .8941 .8988 .9036
face L1+L2           | .9041 .8949 .9025 .9051 .8927 .8999 .9049
face Bell            | .9123 .9030 .9052 .9076 .9044 .9065 .9126
face all             | .9134 .9031 .9060 .9090 .9065 .9076 .9094
scene L1             | .8999 .8873 .8924 .9034 .8986 .8963 .9036
scene L2             | .8993 .8960 .9010 .9027 .9000 .8998 .9043
scene L1+L2          | .9028 .8972 .9036 .9063 .9026 .9025 .9065
scene Bell           | .9044 .8987 .9045 .9078 .9026 .9036 .9077
scene all            | .9088 .9054 .9086 .9142 .9066 .9087 .9129
audio-text L1        | .8777 .8802 .8921 .8824 .8809 .8827 .8815
audio-text L2        | .8834 .8869 .8965 .8801 .8859 .8866 .8838
audio-text L1+L2     | .8891 .8829 .8937 .8853 .8914 .8885 .8909
audio-text Bell      | .8897 .8918 .8955 .8862 .8967 .8920 .8920
audio-text all       | .8919 .8917 .8996 .8877 .8976 .8937 .8952
""")

TABLE_6 = _rows("""
face expectation           | .9019 .8964 .8991 .9016 .8978 .8994 .9042
face expectation+reg       | .9061 .9018 .9039 .9020 .9034 .9034 .9066
face CR-block              | .9121 .9019 .9079 .9045 .9098 .9072 .9104
scene expectation          | .8882 .8879 .8953 .8891 .8909 .8903 .8930
scene expectation+reg      | .8933 .8910 .8979 .8955 .8959 .8947 .8982
scene CR-block             | .9057 .9022 .9087 .9113 .9086 .9073 .9098
audio-text expectation     | .8856 .8873 .8947 .8843 .8917 .8887 .8903
audio-text expectation+reg | .8877 .8919 .8983 .8849 .8940 .8914 .8920
audio-text CR-block        | .8896 .8901 .8989 .8877 .8963 .8925 .8949
""")

TABLE_7 = _rows("""
face 4        | .9167 .9090 .9130 .9151 .9125 .9133 .9177
face 7        | .9129 .9071 .9111 .9111 .9103 .9105 .9141
face 10       | .9110 .9043 .9101 .9085 .9081 .9084 .9130
scene 4       | .9133 .9087 .9148 .9183 .9139 .9138 .9187
scene 7       | .9114 .9084 .9092 .9169 .9079 .9108 .9166
scene 10      | .9074 .9018 .9075 .9103 .9084 .9071 .9105
audio-text 4  | .8953 .8951 .9010 .8920 .9002 .8967 .8981
audio-text 7  | .8903 .8913 .8987 .8987 .8954 .8949 .8932
audio-text 10 | .8862 .8888 .8946 .8830 .8915 .8888 .8891
""")
